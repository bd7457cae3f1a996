"""Reading ahead: the next batch is made while the device works on this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterates over `make(position)`, one position ahead in a thread; a context manager.

    One thread is enough, because decoded pixels are only copied, and `make` must not depend on
    when it is called. What it raises is raised here.

    Attributes:
        waited: seconds for which the iteration had to wait for `make`; the caller may set it to 0.
    """

    def __init__(self, make: Callable[[int], T], positions: Iterable[int]):
        self.make, self.positions = make, iter(positions)
        self.waited = 0.0
        self._pool = ThreadPoolExecutor(1, "prefetch")
        self._ahead = self._submit()

    def _submit(self) -> Future[T] | None:
        position = next(self.positions, None)
        return None if position is None else self._pool.submit(self.make, position)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[T]:
        while self._ahead is not None:
            began = time.monotonic()
            item = self._ahead.result()
            self.waited += time.monotonic() - began
            self._ahead = self._submit()
            yield item


def pinned(device: torch.device, *arrays: np.ndarray[Any, Any]) -> list[Tensor]:
    """As tensors, for CUDA in pinned memory, from which the copy to the device does not block."""
    tensors = [torch.from_numpy(array) for array in arrays]
    return [t.pin_memory() for t in tensors] if device.type == "cuda" else tensors
