"""Asking for a device joins no process group."""

from __future__ import annotations

import torch
from accelerate.state import PartialState

from lookalike.device import default_device, finish_work, peak_memory
from lookalike.training.session import Session


def test_it_is_that_of_a_session_without_one() -> None:
    PartialState._reset_state()
    device = default_device()
    assert PartialState._shared_state == {}
    assert device == Session(1).device


def test_memory_is_the_most_so_far() -> None:
    device = torch.device("cpu")
    before = peak_memory(device)
    held = torch.ones(2**27)  # half a GiB
    finish_work(device)
    after = peak_memory(device)
    assert 0 < before < after
    del held
    assert peak_memory(device) == after
