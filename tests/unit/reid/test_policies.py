"""Trainings with generated images: they harm nothing where they weigh nothing, and resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lookalike.config import ArmPolicy, ReidConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.reid.batches import Batches
from lookalike.reid.model import ReidNet, new_reid
from lookalike.reid.step import ReidTraining
from lookalike.reid.targets import Targets
from lookalike.reid.trainer import train_reid
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.curves import Curves
from lookalike.training.session import Session, state_digest

REAL = 8
PERSONS = ["0001", "0002"] * 4 + ["0001", "syn-1", "0002", "syn-2"] * 2
GENERATED = np.arange(16) >= REAL


@pytest.fixture
def images() -> Images:
    return np.random.default_rng(0).integers(0, 256, (16, 32, 16, 3), dtype=np.uint8)


def gradients(
    config: ReidConfig, images: Images, persons: list[str], **policy: Any
) -> tuple[ReidNet, dict[str, Tensor]]:
    """One step's gradients from the same weights, and the network after it."""
    session, arm = Session(1), ArmPolicy.model_validate(policy)
    arm.check(config)
    targets = Targets(persons, GENERATED[: len(persons)], arm)
    torch.manual_seed(0)
    model = new_reid(config, len(targets.classes))
    batches = Batches(config, images, targets, arm, seed=1, device=session.device)
    training = ReidTraining(config, model, batches, session=session, curves=Curves(session))
    training.step(training.read(0), 0)
    return model, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("label", ["person", "consistency"])
def test_without_weight_they_are_as_if_they_were_not_there(
    config: ReidConfig, strong: ReidConfig, images: Images, label: str
) -> None:
    """Not in gradients, and not in running statistics; both micro-batches, all four losses."""
    recipe = strong.model_copy(update={"batch_size": 8, "micro_batch": 4})
    persons = ["0001", "0002", "0003", "0004"] * 4
    if label != "person":
        recipe = recipe.model_copy(update={"images_per_person": None, "loss": config.loss})
    mixed, ours = gradients(
        recipe, images, persons, label=label, weight=0, batch_share=0.5, own_statistics=True
    )
    alone, theirs = gradients(recipe, images[:REAL], persons[:REAL])
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    for (name, one), other in zip(mixed.named_buffers(), alone.buffers(), strict=True):
        assert torch.equal(one, other), name


def test_statistics_of_their_own_change_what_is_learnt(config: ReidConfig, images: Images) -> None:
    shared, _ = gradients(config, images, PERSONS, batch_share=0.5)
    own, _ = gradients(config, images, PERSONS, batch_share=0.5, own_statistics=True)
    assert not torch.equal(shared.norm.running_mean, own.norm.running_mean)  # type: ignore[arg-type]


@pytest.mark.parametrize("apart", [False, True])
def test_consistency_learns_from_another_view(
    config: ReidConfig, images: Images, apart: bool
) -> None:
    session = Session(1)
    arm = ArmPolicy(label="consistency", batch_share=0.5, own_statistics=apart)
    targets = Targets(PERSONS, GENERATED, arm)
    model = new_reid(config, 2)
    torch.nn.init.normal_(model.classifier.weight)  # opinions
    batches = Batches(config, images, targets, arm, seed=1, device=session.device)
    training = ReidTraining(config, model, batches, session=session, curves=Curves(session))
    training.prepare(0)
    seen = training.read(0)[0]
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits = torch.zeros(8, 2)  # as many generated as real
    first, second = (training._other_view(seen, logits) for _ in range(2))
    assert not first.requires_grad and not torch.equal(first, second)
    torch.testing.assert_close(first[4:].sum(dim=1), torch.ones(4))
    assert bool(first[:4].any()) is not apart
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name


RICH = ArmPolicy(
    label="consistency", weight=0.5, batch_share=0.5, own_statistics=True, epochs=(1, 3)
)


def test_a_killed_run_ends_with_the_same_bits(
    config: ReidConfig, images: Images, tmp_path: Path
) -> None:
    """Killed within the window; all that a policy can ask for."""

    def train(folder: str, survive: int = 99) -> tuple[str, Any]:
        measured = 0

        def validate(_: ReidNet) -> dict[str, float]:
            nonlocal measured
            measured += 1
            if measured > survive:
                raise KeyboardInterrupt
            return {"mAP": 0.0}

        model, history = train_reid(
            config.model_copy(update={"checkpoint_images": 8, "epochs": 4}),
            images,
            PERSONS,
            generated=GENERATED,
            policy=RICH,
            session=Session(1),
            resume=ResumeState(tmp_path / folder, "train_reid", "test"),
            tracker=NullTracker(),
            validate=validate,
        )
        return state_digest(model.state_dict()), history

    expected = train("whole")
    # The baseline's steps, a batch of eight in an epoch, whatever is in it.
    assert [row["images"] for row in expected[1]] == [8, 16, 24, 32]
    with pytest.raises(KeyboardInterrupt):
        train("killed", survive=2)
    torch.rand(7)
    assert train("killed") == expected


def test_a_policy_that_the_recipe_cannot_do_is_refused(
    config: ReidConfig, images: Images, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"arm: batch_share: 0\.1 puts 0 generated images"):
        train_reid(
            config,
            images,
            PERSONS,
            generated=GENERATED,
            policy=ArmPolicy(batch_share=0.1),
            session=Session(1),
            resume=ResumeState(tmp_path, "train_reid", "test"),
            tracker=NullTracker(),
        )
