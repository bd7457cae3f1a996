"""What images are taught as, policy by policy."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.config import ArmPolicy, ReidConfig
from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.reid.label_policies import LABELS, SoftLabels, soft_labels
from lookalike.reid.model import new_reid
from lookalike.reid.targets import NONE, Targets

PERSONS = ["0002", "0001", "0001", "syn-000001", "0002"]
GENERATED = np.array([False, False, True, True, True])


def test_every_label_of_the_parameters_has_its_object() -> None:
    """And the groups that the parameters are checked by say what the objects do."""
    assert set(LABELS) == set(get_args(ArmPolicy.model_fields["label"].annotation))
    for name, label in LABELS.items():
        policy = ArmPolicy.model_validate({"label": name})
        assert policy.labelled == (label.class_of("0001", {"0001"}) is not None)
        if policy.asks_baseline:
            with pytest.raises(ValueError, match="needs a distribution"):
                label.distributions(["0001", "0002"], 1, None)
        else:
            label.distributions(["0001", "0002"], 1, None)


def targets(label: str, soft: SoftLabels | None = None) -> Targets:
    return Targets(PERSONS, GENERATED, ArmPolicy.model_validate({"label": label}), soft)


@pytest.mark.parametrize(
    ("label", "classes", "labels"),
    [
        ("person", ["0001", "0002", "syn-000001"], [1, 0, 0, 2, 1]),
        (
            "own",
            ["0001", "0002", "generated/0001", "generated/0002", "syn-000001"],
            [1, 0, 2, 4, 3],
        ),
        ("uniform", ["0001", "0002"], [1, 0, NONE, NONE, NONE]),
        ("consistency", ["0001", "0002"], [1, 0, NONE, NONE, NONE]),
    ],
)
def test_classes_of_each_policy(label: str, classes: list[str], labels: list[int]) -> None:
    made = targets(label)
    assert made.classes == classes
    assert made.labels.tolist() == labels
    if label != "uniform":
        assert made.distributions(np.arange(5)) is None


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2), st.lists(st.integers(0, 19), min_size=1))
def test_uniform_is_over_the_real_persons_alone(real: list[int], made: list[int]) -> None:
    persons = [f"{number:02}" for number in (10, 11, *real, *made)]
    generated = np.arange(len(persons)) >= 2 + len(real)
    uniform = Targets(persons, generated, ArmPolicy(label="uniform"))
    assert uniform.classes == sorted(set(persons[: 2 + len(real)]))
    rows = uniform.distributions(np.flatnonzero(generated))
    assert rows is not None and rows.shape == (len(made), len(uniform.classes))
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-5)
    assert len(np.unique(rows)) == 1
    assert uniform.distributions(np.flatnonzero(~generated)) is None


def test_soft_labels_are_the_models_softmax(config: ReidConfig, crops: tuple[Images, list]) -> None:
    torch.manual_seed(0)
    model = new_reid(config, 2).eval()
    torch.nn.init.normal_(model.classifier.weight)
    images = crops[0][:3]
    soft = soft_labels(model, ["0002", "0001"], images, batch_size=2)
    with torch.no_grad():
        expected = model(to_tensor(images)).softmax(dim=1).numpy()
    np.testing.assert_allclose(soft.probabilities, expected, rtol=1e-4)
    assert expected.std() > 0.01
    # Each generated image has its own row, in the order of the classes here.
    rows = targets("soft", soft).distributions(np.array([4, 2, 3]))
    assert rows is not None
    np.testing.assert_allclose(rows, expected[[2, 0, 1]][:, ::-1], rtol=1e-4)


def test_persons_whom_the_model_does_not_know_get_nothing() -> None:
    persons = ["0001", "0002", "duke/0001", "0001"]
    soft = SoftLabels(["0001", "0002"], np.array([[0.25, 0.75]], dtype=np.float32))
    made = Targets(persons, np.array([False] * 3 + [True]), ArmPolicy(label="soft"), soft)
    rows = made.distributions(np.array([3]))
    assert rows is not None
    assert dict(zip(made.classes, rows[0], strict=True)) == {
        "0001": 0.25,
        "0002": 0.75,
        "duke/0001": 0,
    }


def test_soft_labels_must_fit() -> None:
    with pytest.raises(ValueError, match="for each generated image"):
        targets("soft")
    with pytest.raises(ValueError, match="for each generated image"):
        targets("soft", SoftLabels(["0001", "0002"], np.zeros((2, 2), dtype=np.float32)))
    with pytest.raises(UserError, match="such as 0009"):
        targets("soft", SoftLabels(["0001", "0009"], np.zeros((3, 2), dtype=np.float32)))
    with pytest.raises(UserError, match="at least two persons"):
        Targets(["a", "b"], np.array([False, True]), ArmPolicy(label="uniform"))
