"""Where to compute, and how much memory that has taken.

For those that are no training: a `Session` joins its processes and has their device.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from threadpoolctl import ThreadpoolController

GIB = 2**30
_TURN = threading.Lock()


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


@contextmanager
def one_thread_each() -> Iterator[int]:
    """How many threads may share the work; meanwhile what each of them calls uses one core.

    So cores wait for each other once, at the end. Threads inside a product or a comparison would
    wait after every one of them, and spin meanwhile. What each thread computes does not depend on
    their number. The numbers of threads are the process's, so who asks while others are at work
    waits for them: each has all cores.
    """
    with _TURN:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with _blas().limit(limits=1, user_api="blas"):
                yield threads
        finally:
            torch.set_num_threads(threads)


@cache
def _blas() -> ThreadpoolController:
    """What sets the threads of NumPy's products; finding them takes milliseconds."""
    return ThreadpoolController()
