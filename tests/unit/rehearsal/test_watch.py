from __future__ import annotations

from itertools import count

import pytest

from lookalike.progress import Progress, watchers
from lookalike.rehearsal.watch import Watch


def test_the_pace_is_that_after_the_first_advance() -> None:
    times = iter([0.0, 10.0, 12.0, 14.0, 99.0])  # began, three advances, ended
    watch = Watch(lambda: next(times))
    with watch.watching(), Progress("train", 12, visible=False) as bar:
        for _ in range(3):
            bar.advance(4)
    done = watch.work()["train"]
    assert (done.count, done.seconds, done.each) == (12, 99.0, 0.5)
    assert not watchers


def test_bars_of_one_name_count_together_and_a_single_advance_counts_whole() -> None:
    clock = count()
    watch = Watch(lambda: float(next(clock)))
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
    watch = Watch(lambda: float(next(clock)))
    with watch.watching(), Progress("train", 12, start=4, visible=False) as bar:
        bar.advance(4)
        bar.advance(4)
    assert watch.work()["train"].count == 8
    assert watch.work()["train"].each == 0.25
