"""Where to compute, and how much memory that has taken.

For those that are no training: a `Session` joins its processes and has their device.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch

GIB = 2**30


def default_device() -> torch.device:
    """The accelerator, if there is one; of several, the one that a launcher gave this process."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    number = os.environ.get("LOCAL_RANK")
    return accelerator if number is None else torch.device(accelerator.type, int(number))


def peak_memory(device: torch.device) -> float:
    """The most memory that this process has held so far, in GiB.

    Of the device; where that is the CPU, of the process. 0 where a kind of device does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return peak_of_process() / GIB if device.type == "cpu" else 0.0


def peak_of_process() -> int:
    """The most memory that this process has held so far, in bytes.

    Linux' `ru_maxrss` begins at the peak of the process that started this one; `VmHWM` does not.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def finish_work(device: torch.device) -> None:
    """Wait until the device has done all that was ordered."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
