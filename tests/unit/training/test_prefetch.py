"""Reading ahead: the same items in the same order, one ahead, errors where they belong."""

from __future__ import annotations

import threading
import time

import pytest

from lookalike.training.prefetch import Prefetch


def test_items_come_in_order_and_one_ahead() -> None:
    made: list[int] = []
    ready = threading.Event()

    def make(position: int) -> int:
        made.append(position)
        if position == 4:
            ready.set()
        return position**2

    with Prefetch(make, range(0, 10, 2)) as items:
        iterator = iter(items)
        assert [next(iterator), next(iterator)] == [0, 4]
        assert ready.wait(5)  # the third is being made while the caller has the second
        assert max(made) == 4
        assert list(iterator) == [16, 36, 64]
    assert made == [0, 2, 4, 6, 8]


def test_it_says_how_long_the_caller_waited() -> None:
    with Prefetch(lambda _: time.sleep(0.05), range(3)) as slow:
        list(slow)
    assert slow.waited > 0.1
    with Prefetch(lambda position: position, range(3)) as quick:
        for _ in quick:
            time.sleep(0.05)
    assert quick.waited < 0.05


def test_errors_reach_the_caller_and_leaving_ends_the_thread() -> None:
    def make(position: int) -> int:
        if position == 1:
            raise OSError("disk")
        return position

    with Prefetch(make, range(9)) as items, pytest.raises(OSError, match="disk"):
        list(items)
    with Prefetch(make, [0, 2, 3]) as items:
        next(iter(items))
    assert not any(t.name.startswith("prefetch") for t in threading.enumerate())
    assert list(Prefetch(make, [])) == []
