"""Training: it learns, and a killed run ends with the same bits and the same points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from lookalike.config import ReidConfig, ReidScheduleConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.reid.model import GeneralisedMean, ReidNet, new_reid
from lookalike.reid.trainer import (
    History,
    Validate,
    train_reid,
    validations,
)
from lookalike.seeds import derive_seed
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Precision, Session, state_digest

Crops = tuple[Images, list[str]]


class Recorder(NullTracker):
    """Keeps the points; after the first `survive` of them the process dies."""

    def __init__(self, survive: float = math.inf):
        self.points: list[tuple[int, dict[str, float]]] = []
        self.survive = survive

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self.points.append((step, dict(values)))
        if len(self.points) >= self.survive:
            raise KeyboardInterrupt

    def comparable(self) -> list[tuple[int, dict[str, float]]]:
        """The points without what the machine decides."""
        machine = {"images_per_second", "data_wait", "memory_gib"}
        return [
            (step, {name: value for name, value in values.items() if name not in machine})
            for step, values in self.points
        ]


def score(model: ReidNet) -> dict[str, float]:
    """Stands for a validation: a number that all weights and statistics go into."""
    return {"mAP": model.eval()(torch.ones(1, 3, 32, 16)).sum().item()}


def train(
    config: ReidConfig,
    crops: Crops,
    folder: Path,
    recorder: Recorder,
    validate: Validate = score,
    initial: Mapping[str, Tensor] | None = None,
) -> ReidNet:
    return train_with_history(config, crops, folder, recorder, validate, initial)[0]


def train_with_history(
    config: ReidConfig,
    crops: Crops,
    folder: Path,
    recorder: Recorder,
    validate: Validate = score,
    initial: Mapping[str, Tensor] | None = None,
) -> tuple[ReidNet, History]:
    return train_reid(
        config,
        *crops,
        session=Session(1),
        resume=ResumeState(folder, "train_reid", "test"),
        tracker=recorder,
        initial=initial,
        validate=validate,
    )


@pytest.mark.parametrize("recipe", ["config", "strong"])
def test_a_killed_run_ends_with_the_same_bits(
    recipe: str, crops: Crops, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config: ReidConfig = request.getfixturevalue(recipe)
    crops = (crops[0], ["0001", "0002", "0003", "syn-000001"] * 2)
    whole = Recorder()
    model, history = train_with_history(config, crops, tmp_path / "whole", whole)
    expected = state_digest(model.state_dict())
    assert {step for step, _ in whole.points} == {8, 16}
    assert all(row["gradient_norm"] > 0 for row in history)
    if recipe == "strong":
        terms = {"cross_entropy", "triplet", "circle", "centre"}
        curve = whole.points[0][1]
        assert curve["loss"] == pytest.approx(sum(curve[term] for term in terms))

    # Killed while the two points of the checkpoint at 8 images were handed over: they come again.
    first, second = Recorder(survive=2), Recorder()
    with pytest.raises(KeyboardInterrupt):
        train(config, crops, tmp_path / "killed", first)
    torch.rand(7)  # whatever else happens to the random state
    resumed, resumed_history = train_with_history(config, crops, tmp_path / "killed", second)
    assert state_digest(resumed.state_dict()) == expected
    assert resumed_history == history
    points = {step: dict[str, float]() for step, _ in whole.points}
    for step, values in whole.comparable():
        points[step] |= values
    assert history == [{"images": step, **values} for step, values in points.items()]
    assert first.comparable() == whole.comparable()[:2]
    assert second.comparable() == whole.comparable()
    # The resume state is that of the uninterrupted run, down to the centres and the optimiser.
    left, right = (torch.load(f) for f in sorted(tmp_path.glob("*/*/state.pt")))
    assert state_digest(left["losses"]) == state_digest(right["losses"])
    assert state_digest(left["model"]) == state_digest(right["model"])
    moments = [state["optimizer"]["state"].items() for state in (left, right)]
    one, other = ({f"{i}": state_digest(m) for i, m in each} for each in moments)
    assert one == other


class Overflowing(Session):
    """fp16's scaler without fp16, which needs a GPU; the first gradients overflow."""

    def __init__(self) -> None:
        super().__init__(1)
        self.precision: Precision = "fp16"
        self.steps = 0

    def average_gradients(
        self, parameters: Iterable[nn.Parameter], micro_batches: int, *, scaled: bool = False
    ) -> None:
        first, *others = parameters
        assert scaled and first.grad is not None
        if self.steps == 0:
            first.grad[0] = math.inf
        super().average_gradients([first, *others], micro_batches, scaled=scaled)
        self.steps += 1


def test_fp16_skips_a_step_that_overflows_and_saves_its_scale(
    strong: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    config = strong.model_copy(update={"epochs": 1})
    crops = (crops[0], ["0001", "0002", "0003", "syn-000001"] * 2)
    torch.manual_seed(derive_seed(1, "reid"))
    initial = dict(new_reid(config, 4).named_parameters())
    session = Overflowing()
    resume = ResumeState(tmp_path, "train_reid", "test")
    model, _ = train_reid(
        config,
        *crops,
        session=session,
        resume=resume,
        tracker=Recorder(),
        initial=None,
        validate=None,
    )
    assert session.steps == 1
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, initial[name]), name
    state = resume.load()
    assert state is not None
    assert state["scaler"]["scale"] == 32768


@pytest.fixture
def bf16() -> Iterator[Session]:
    """Accelerate keeps the first precision for all of a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Session(1, "bf16")
    AcceleratorState._reset_state(reset_partial_state=True)


def test_bf16_trains_and_resumes_with_the_same_bits(
    strong: ReidConfig,
    crops: Crops,
    tmp_path: Path,
    bf16: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that the strong recipe has: instance norm, generalised mean, batch norm, four losses."""
    config = strong.model_copy(update={"precision": "bf16", "learning_rate": 3e-3})
    crops = (crops[0], ["0001", "0002", "0003", "syn-000001"] * 2)
    pool, seen = GeneralisedMean.forward, set[tuple[bool, torch.dtype]]()

    def watched(self: GeneralisedMean, x: Tensor) -> Tensor:
        pooled = pool(self, x)
        seen.add((self.training, x.dtype))
        assert pooled.dtype == torch.float32
        return pooled

    monkeypatch.setattr(GeneralisedMean, "forward", watched)
    resume = [ResumeState(tmp_path / name, "train_reid", "test") for name in ("whole", "killed")]
    arguments: dict[str, Any] = {"session": bf16, "initial": None, "validate": score}
    model, history = train_reid(
        config, *crops, resume=resume[0], tracker=NullTracker(), **arguments
    )
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(math.isfinite(value) for row in history for value in row.values())
    losses = [row["loss"] for row in history]
    assert losses[-1] < losses[0]
    with pytest.raises(KeyboardInterrupt):
        train_reid(config, *crops, resume=resume[1], tracker=Recorder(survive=2), **arguments)
    again, resumed = train_reid(
        config, *crops, resume=resume[1], tracker=NullTracker(), **arguments
    )
    assert state_digest(again.state_dict()) == state_digest(model.state_dict())
    assert resumed == history


def test_a_state_of_other_persons_is_refused(
    config: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config, crops, tmp_path, Recorder(survive=2))
    renamed = (crops[0], [person.replace("0001", "0009") for person in crops[1]])
    with pytest.raises(UserError, match=r"state\.pt is of a training on other persons"):
        train(config, renamed, tmp_path, Recorder())


def test_the_best_weights_are_kept_even_across_a_kill(
    config: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    digests: list[str] = []

    def worse_and_worse(model: ReidNet) -> dict[str, float]:
        digests.append(state_digest(model.state_dict()))
        return {"mAP": -float(model.norm.num_batches_tracked or 0)}

    with pytest.raises(KeyboardInterrupt):
        train(config, crops, tmp_path, Recorder(survive=2), worse_and_worse)
    best = train(config, crops, tmp_path, Recorder(), worse_and_worse)
    assert len(digests) == 2
    assert state_digest(best.state_dict()) == digests[0] != digests[1]


def test_a_frozen_backbone_stays_as_it_was_loaded(
    config: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    initial = new_reid(config, 3).backbone.state_dict()
    backbones: list[dict[str, Tensor]] = []
    digests: list[str] = []

    def watch(model: ReidNet) -> dict[str, float]:
        digests.append(state_digest(model.state_dict()))
        backbones.append({k: v.clone() for k, v in model.backbone.state_dict().items()})
        return {"mAP": 0.0}

    schedule = ReidScheduleConfig(warm_up=0, decay="cosine", freeze=1)
    model = train(
        config.model_copy(update={"schedule": schedule}),
        crops,
        tmp_path,
        Recorder(),
        watch,
        initial,
    )
    frozen, trained = backbones  # after the first epoch and the second
    assert state_digest(frozen) == state_digest(initial)
    assert not torch.equal(trained["conv1.weight"], initial["conv1.weight"])
    assert not torch.equal(trained["bn1.running_mean"], initial["bn1.running_mean"])
    # The head trains all the time; its statistics move once per batch.
    assert int(model.norm.num_batches_tracked or 0) == 2
    assert state_digest(model.state_dict()) == digests[-1]  # the last of equals


def test_it_learns_and_says_so(config: ReidConfig, crops: Crops, tmp_path: Path) -> None:
    recorder = Recorder()
    longer = config.model_copy(update={"epochs": 6, "dropout": 0.0, "checkpoint_images": 1000})
    digests: list[str] = []

    def undefined(model: ReidNet) -> dict[str, float]:
        digests.append(state_digest(model.state_dict()))
        return {"mAP": math.nan}

    model = train(longer, crops, tmp_path, recorder, undefined)
    assert not model.training
    assert state_digest(model.state_dict()) == digests[-1]  # where no score is a number
    curves = [values for _, values in recorder.points if "loss" in values]
    assert len(curves) == 6
    assert curves[0]["loss"] > math.log(3) * 0.9  # three persons, nothing learned yet
    assert curves[-1]["loss"] < curves[0]["loss"]
    assert curves[-1]["accuracy"] > 0.7
    assert curves[-1]["learning_rate"] < config.learning_rate / 5
    validated = [step for step, values in recorder.points if "validation_mAP" in values]
    assert validated == [16, 32, 48]


def test_a_long_training_is_validated_every_ten_epochs() -> None:
    assert [validations(epochs) for epochs in (1, 8, 49, 60, 120)] == [4, 4, 4, 6, 12]


def test_bad_input_is_refused(config: ReidConfig, crops: Crops, tmp_path: Path) -> None:
    images, persons = crops
    with pytest.raises(ValueError, match="must be"):
        train(config, (images[:, :16], persons), tmp_path, Recorder())
    with pytest.raises(UserError, match="at least two persons"):
        train(config, (images, ["0001"] * 8), tmp_path, Recorder())
