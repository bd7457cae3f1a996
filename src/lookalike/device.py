"""Where to compute, and how much memory that has taken."""

from __future__ import annotations

import resource
import sys

import torch

GIB = 2**30


def peak_memory(device: torch.device) -> float:
    """The most memory that this process has held so far, in GiB.

    Of the device; where that is the CPU, of the process. 0 where a kind of device does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    if device.type == "cpu":
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
    return 0.0


def finish_work(device: torch.device) -> None:
    """Wait until the device has done all that was ordered."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
