"""The loop around the trainers' steps: curves, rates, checkpoints, and what stops it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from lookalike.errors import UserError
from lookalike.tracking import NullTracker
from lookalike.training import loop as module
from lookalike.training.checkpoint import ResumeState
from lookalike.training.loop import Loop, rows
from lookalike.training.session import Session

Values = Callable[[int], float]  # what a step measures, by the images seen


class Recorder(NullTracker):
    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self.points.append((step, dict(values)))


class Clock:
    """Seconds that pass only where a test lets them."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Trial:
    """Steps of four images that take a second each; measuring and settling take a hundred."""

    def __init__(self, folder: Path, clock: Clock, values: Values = float, dies_at: int = -1):
        self.clock, self.values, self.dies_at = clock, values, dies_at
        self.weight = nn.Linear(1, 1)
        nn.init.zeros_(self.weight.weight)
        self.recorder = Recorder()
        self.loop = Loop(
            "trial",
            images=46,
            batch_size=4,
            session=Session(1),
            resume=ResumeState(folder, "trial", "test"),
            tracker=self.recorder,
            point_steps=5,
            checkpoint_images=12,
            shown=("loss",),
            remedy="lower the rate",
            same={"persons": ["a", "b"]},
        )
        self.loop.register({"weight": self.weight})

    def step(self, batch: int, images_seen: int) -> None:
        assert batch == images_seen
        if images_seen == self.dies_at:
            raise KeyboardInterrupt
        self.clock.now += 1
        with torch.no_grad():
            self.weight.weight += 1
        self.loop.curves.add(loss=torch.tensor(self.values(images_seen)))
        if images_seen % 16 == 0:
            self.loop.curves.add(rare=torch.tensor(float(images_seen)))
        self.loop.curves.noted["rate"] = 0.5 ** (images_seen // 4)

    def measure(self, images_seen: int) -> dict[str, float]:
        self.clock.now += 100
        return {"score": self.weight.weight.item()}

    def run(self) -> Trial:
        self.loop.run(
            self.step, lambda start: start, measure=self.measure, due=lambda seen: seen % 16 == 0
        )
        return self


def test_points_are_means_over_all_steps_since_the_last(tmp_path: Path, clock: Clock) -> None:
    trial = Trial(tmp_path, clock).run()
    assert trial.loop.points == [
        {"images": 20, "loss": 8, "rare": 8, "rate": 0.5**4},
        {"images": 40, "loss": 28, "rare": 32, "rate": 0.5**9},
        {"images": 48, "loss": 42, "rate": 0.5**11},  # 46 images in whole batches
    ]
    assert trial.loop.measurements == [
        {"images": images, "score": images / 4} for images in (0, 16, 32, 48)
    ]
    together = rows(trial.loop.points, trial.loop.measurements)
    assert [row["images"] for row in together] == [0, 16, 20, 32, 40, 48]
    assert together[-1] == {"images": 48, "loss": 42, "rate": 0.5**11, "score": 12}


@pytest.mark.parametrize("dies_at", [16, 24, 28, 40])
def test_rates_are_of_training_alone_and_the_same_after_a_kill(
    tmp_path: Path, clock: Clock, dies_at: int
) -> None:
    """Wherever it was: most places lie between two points, and right after a checkpoint or not."""
    with pytest.raises(KeyboardInterrupt):
        Trial(tmp_path, clock, dies_at=dies_at).run()
    clock.now += 1000
    points = Trial(tmp_path, clock).run().recorder.points
    rates = [values["images_per_second"] for _, values in points if "loss" in values]
    assert rates == pytest.approx([4.0] * len(rates)), "four images a second"
    assert all(values["memory_gib"] > 0 for _, values in points if "loss" in values)


@pytest.mark.parametrize("dies_at", [4, 16, 28, 44])
def test_a_resumed_run_repeats_no_point_and_lacks_none(
    tmp_path: Path, clock: Clock, dies_at: int
) -> None:
    def comparable(recorder: Recorder) -> list[tuple[int, dict[str, float]]]:
        machine = {"images_per_second", "data_wait", "memory_gib"}
        return [
            (step, {k: v for k, v in values.items() if k not in machine})
            for step, values in recorder.points
        ]

    whole = Trial(tmp_path / "whole", clock).run()
    first = Trial(tmp_path / "killed", clock, dies_at=dies_at)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = Trial(tmp_path / "killed", clock).run()
    assert second.weight.weight.item() == whole.weight.weight.item() == 12
    assert comparable(first.recorder) + comparable(second.recorder) == comparable(whole.recorder)
    assert second.loop.points == whole.loop.points
    assert second.loop.measurements == whole.loop.measurements
    assert Trial(tmp_path / "killed", clock).run().recorder.points == [], "it is complete"


@pytest.mark.parametrize(("arrived", "again"), [(0, 0), (1, 1), (None, 0)])
def test_points_that_did_not_arrive_are_handed_over_by_the_resumed_run(
    tmp_path: Path, clock: Clock, arrived: int | None, again: int
) -> None:
    """The server is gone right after the checkpoint at 24 images, which holds two new points."""
    whole = [step for step, _ in Trial(tmp_path / "whole", clock).run().recorder.points]

    class Gone(Recorder):
        def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
            before = len([known for known, _ in self.points if known in (16, 20)])
            if step in (16, 20) and before == arrived:
                raise ConnectionError
            super().metrics(values, step)

    first = Trial(tmp_path / "gone", clock, dies_at=24 if arrived is None else -1)
    first.recorder = first.loop.tracker = Gone()
    with pytest.raises((ConnectionError, KeyboardInterrupt)):
        first.run()
    resumed = Trial(tmp_path / "gone", clock).run()
    steps = [step for trial in (first, resumed) for step, _ in trial.recorder.points]
    assert set(steps) == set(whole) and len(steps) == len(whole) + again


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_step_stops_the_run_before_the_next_checkpoint(
    tmp_path: Path, clock: Clock, bad: float
) -> None:
    """Also between two points; what was measured before reaches the tracker."""
    trial = Trial(tmp_path, clock, lambda seen: bad if seen == 28 else 1.0)
    with pytest.raises(
        UserError, match=r"^trial: loss no longer finite at 36 images; lower the rate$"
    ):
        trial.run()
    assert [step for step, _ in trial.recorder.points] == [0, 16, 20, 32]
    state = ResumeState(tmp_path, "trial", "test").load()
    assert state is not None
    assert state["images_seen"] == 24


def test_a_state_of_something_else_is_refused(tmp_path: Path, clock: Clock) -> None:
    Trial(tmp_path, clock).run()
    other = Trial(tmp_path, clock)
    other.loop.same = {"persons": ["a", "c"]}
    with pytest.raises(UserError, match=r"state\.pt is of a training on other persons; delete it"):
        other.run()


def test_a_state_of_other_parts_is_another_versions(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    Trial(tmp_path, clock).run()
    other = Trial(tmp_path, clock)
    other.loop.register({"second": nn.Linear(1, 1)})
    other.run()
    assert "is another version's; fresh start" in capsys.readouterr().err
    assert other.weight.weight.item() == 12
