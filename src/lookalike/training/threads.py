"""A batch is one thread's work on a CPU: small kernels gain nothing from two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from lookalike.device import one_thread_each

Batch = TypeVar("Batch")
Made = TypeVar("Made")

AT_ONCE = 16  # batches; they take memory


@contextmanager
def each_by_a_thread(
    make: Callable[[Batch], Made], batches: Sequence[Batch], device: torch.device
) -> Iterator[Iterator[Made]]:
    """What `make` makes of each batch, in order; on a CPU several at once, `AT_ONCE` at most."""
    if device.type != "cpu":
        yield map(make, batches)
        return
    with (
        one_thread_each() as threads,
        ThreadPoolExecutor(min(threads, AT_ONCE, len(batches) or 1)) as pool,
    ):
        yield pool.map(make, batches)
