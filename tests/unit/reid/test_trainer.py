"""Training: it learns, and a killed run ends with the same bits and the same points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from lookalike.config import ReidConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.reid.model import ReidNet
from lookalike.reid.trainer import augment, schedule, train_reid
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Session, state_digest

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
        """The points without what the clock says."""
        return [
            (step, {k: v for k, v in values.items() if k != "images_per_second"})
            for step, values in self.points
        ]


def train(
    config: ReidConfig, crops: Crops, folder: Path, recorder: Recorder, seed: int = 1
) -> ReidNet:
    return train_reid(
        config,
        *crops,
        session=Session(seed),
        resume=ResumeState(folder, "train_reid", "test"),
        tracker=recorder,
        initial=None,
        validate=lambda model: {"rank_1": float(model.norm.running_mean.sum())},
    )


def test_a_killed_run_ends_with_the_same_bits(
    config: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    whole = Recorder()
    expected = state_digest(train(config, crops, tmp_path / "whole", whole).state_dict())
    assert {step for step, _ in whole.points} == {8, 16}

    # Killed after the checkpoint at 8 images was written and its two points were handed over.
    first, second = Recorder(survive=2), Recorder()
    with pytest.raises(KeyboardInterrupt):
        train(config, crops, tmp_path / "killed", first)
    torch.rand(7)  # whatever else happens to the random state
    resumed = train(config, crops, tmp_path / "killed", second)
    assert state_digest(resumed.state_dict()) == expected
    assert first.comparable() + second.comparable() == whole.comparable()


def test_it_learns_and_says_so(config: ReidConfig, crops: Crops, tmp_path: Path) -> None:
    recorder = Recorder()
    longer = config.model_copy(update={"epochs": 6, "dropout": 0.0, "checkpoint_images": 1000})
    model = train(longer, crops, tmp_path, recorder)
    assert not model.training
    curves = [values for _, values in recorder.points if "loss" in values]
    assert len(curves) == 6
    assert curves[0]["loss"] > math.log(3) * 0.9  # three persons, nothing learned yet
    assert curves[-1]["loss"] < curves[0]["loss"]
    assert curves[-1]["accuracy"] > 0.7
    assert curves[-1]["learning_rate"] < config.learning_rate / 5
    validated = [step for step, values in recorder.points if "rank_1" in values]
    assert validated == [16, 32, 48]


def test_bad_input_is_refused(config: ReidConfig, crops: Crops, tmp_path: Path) -> None:
    images, persons = crops
    with pytest.raises(ValueError, match="must be"):
        train(config, (images[:, :16], persons), tmp_path, Recorder())
    with pytest.raises(UserError, match="at least two persons"):
        train(config, (images, ["0001"] * 8), tmp_path, Recorder())


def test_schedule_rises_and_falls() -> None:
    assert schedule(0) == pytest.approx(0.01)
    assert schedule(0.1) == 1
    assert schedule(0.55) == pytest.approx(0.5)
    assert schedule(1) == pytest.approx(0)


def test_augment_moves_and_mirrors_whole_pixels() -> None:
    height, width = 32, 16
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = torch.stack([rows, columns, columns]).float().expand(64, -1, -1, -1)
    torch.manual_seed(0)
    y = augment(x)
    assert y.shape == x.shape
    centre = y[:, :, height // 2, width // 2].long()
    assert {abs(r - height // 2) for r in centre[:, 0].tolist()} == {0, 1, 2}  # up to 32 / 16
    direction = y[:, 1, 0, -1] - y[:, 1, 0, 0]
    assert 16 < int((direction < 0).sum()) < 48  # about half are mirrored
    # Rows and columns stay together: a pixel's row does not depend on its column.
    assert torch.equal(y[:, 0], y[:, 0, :, :1].expand(-1, -1, width))
    # Everything that appears was there before; borders are repeated.
    assert y[:, 0].min() >= 0
    assert y[:, 0].max() == height - 1
