from __future__ import annotations

from itertools import count

import pytest

from lookalike.progress import Progress, watchers
from lookalike.rehearsal.watch import Stopwatch


def test_the_pace_is_that_after_the_first_advance() -> None:
    times = iter([0.0, 10.0, 12.0, 14.0, 99.0])  # began, three advances, ended
    watch = Stopwatch(lambda: next(times))
    with watch.watching(), Progress("train", 12, visible=False) as bar:
        for _ in range(3):
            bar.advance(4)
    done = watch.work()["train"]
    assert (done.count, done.seconds, done.each) == (12, 99.0, 0.5)
    assert not watchers


def test_bars_of_one_name_count_together_and_a_single_advance_counts_whole() -> None:
    clock = count()
    watch = Stopwatch(lambda: float(next(clock)))
    with watch.watching():
        for _ in range(2):
            with Progress("embed", 8, visible=False) as bar:
                bar.advance(8)
        with Progress("nothing", 0, visible=False):
            pass
    work = watch.work()
    assert work["embed"].count == 16 and work["embed"].each == pytest.approx(4 / 16)
    assert work["nothing"].count == 0 and work["nothing"].each == 0.0


def test_a_resumed_bar_counts_what_it_did_itself() -> None:
    clock = count()
    watch = Stopwatch(lambda: float(next(clock)))
    with watch.watching(), Progress("train", 12, start=4, visible=False) as bar:
        bar.advance(4)
        bar.advance(4)
    assert watch.work()["train"].count == 8
    assert watch.work()["train"].each == 0.25


def test_a_bar_within_another_counts_for_itself_alone() -> None:
    """Validation within training was reckoned twice: in the pace of both."""
    clock = iter([0.0, 10.0, 11.0, 14.0, 15.0, 16.0, 17.0, 18.0, 20.0, 30.0, 31.0])
    watch = Stopwatch(lambda: next(clock))
    with watch.watching(), Progress("train", 8, visible=False) as train:
        train.advance(4)  # at 10
        with Progress("embed", 3, visible=False) as embed:  # from 11
            embed.advance(3)  # at 14; until 15
        with Progress("outer", 0, visible=False), Progress("inner", 0, visible=False):
            pass  # from 16 until 20, and from 17 until 18
        train.advance(4)  # at 30; until 31
    work = watch.work()
    assert (work["train"].seconds, work["train"].each) == (31 - 4 - 4, (30 - 10 - 4 - 4) / 4)
    assert {name: work[name].seconds for name in ("embed", "outer", "inner")} == {
        "embed": 4,
        "outer": 3,
        "inner": 1,
    }
    assert sum(done.seconds for done in work.values()) == 31
