from __future__ import annotations

import threading

import pytest
import torch

from lookalike.training.threads import each_by_a_thread


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_made_comes_in_order(device: str) -> None:
    makers = set()

    def square(number: int) -> int:
        makers.add(threading.current_thread())
        return number**2

    with each_by_a_thread(square, range(40), torch.device(device)) as made:
        assert list(made) == [number**2 for number in range(40)]
    # A device has one queue, and its work stays with the thread that asks.
    assert (makers == {threading.current_thread()}) == (device != "cpu")
    with each_by_a_thread(square, [], torch.device(device)) as made:
        assert list(made) == []


def test_one_thread_inside_and_a_failure_is_told() -> None:
    before = torch.get_num_threads()

    def make(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return torch.get_num_threads()

    with (
        pytest.raises(ValueError, match="three"),
        each_by_a_thread(make, range(5), torch.device("cpu")) as made,
    ):
        assert [next(made) for _ in range(3)] == [1, 1, 1]
        next(made)
    assert torch.get_num_threads() == before
