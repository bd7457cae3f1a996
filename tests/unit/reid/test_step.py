"""A training step: the schedule of its rate."""

from __future__ import annotations

import pytest

from lookalike.config import ReidScheduleConfig
from lookalike.reid.step import schedule


def test_schedule_rises_and_falls() -> None:
    cosine = ReidScheduleConfig(warm_up=2, decay="cosine", freeze=0)
    factors = [schedule(epoch, 20, cosine) for epoch in (0, 1, 2, 11, 20, 20.5)]
    assert factors == pytest.approx([0.01, 0.505, 1, 0.5, 0, 0])
    steps = ReidScheduleConfig(warm_up=10, decay=(40, 90), freeze=0)
    factors = [schedule(epoch, 120, steps) for epoch in (0, 5, 10, 39.9, 40, 89.9, 90, 120)]
    assert factors == pytest.approx([0.01, 0.505, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert schedule(0, 5, ReidScheduleConfig(warm_up=0, decay=(3,), freeze=0)) == 1
