"""Asking for a device joins no process group."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from accelerate.state import PartialState

from lookalike.device import default_device
from lookalike.training.session import Session


def test_it_is_that_of_a_session_without_one() -> None:
    PartialState._reset_state()
    device = default_device()
    assert PartialState._shared_state == {}
    assert device == Session(1).device


def test_memory_is_the_most_so_far_of_this_process() -> None:
    """Not of the one that started it, whose peak Linux hands down in `ru_maxrss`."""
    script = """
import torch
from lookalike.device import finish_work, peak_memory
device = torch.device("cpu")
before = peak_memory(device)
held = torch.ones(2**27)  # half a GiB
finish_work(device)
after = peak_memory(device)
del held
print(before, after, peak_memory(device))
"""
    held_here = torch.ones(2**28)  # a GiB
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    del held_here
    before, after, later = map(float, said.stdout.split())
    assert 0 < before < 0.9
    assert after == pytest.approx(before + 0.5, abs=0.2)
    assert later == pytest.approx(after, abs=0.01)  # the kernel counts pages in batches
