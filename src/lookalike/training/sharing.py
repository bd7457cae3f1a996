"""The processes of a launcher share what is made of many items."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from accelerate.utils import gather_object

from lookalike.training.session import Session

Items = TypeVar("Items", npt.NDArray[np.uint8], npt.NDArray[np.float32], list[npt.NDArray[np.intp]])
Number = TypeVar("Number", np.float32, np.float64)


def shared(
    make: Callable[[Items], npt.NDArray[Number]], items: Items, session: Session | None, unit: int
) -> npt.NDArray[Number]:
    """What `make` makes of all items, each process making a share; all get the whole, [N, ...].

    Every process calls it with equally many items, and in the same order of calls.

    Args:
        make: rows of items, in their order: the same number of each whatever share it lies in.
        items: images, say uint8 [N, H, W, 3], features, or a list.
        session: the processes; None: this one alone.
        unit: items; where a share begins. A multiple of `make`'s batches, so that the batches are
            those of one process.
    """
    if session is None or session.world == 1 or not len(items):
        return make(items)
    units = -(-len(items) // unit)
    start, end = (unit * (units * i // session.world) for i in (session.rank, session.rank + 1))
    mine = items[start:end]
    return np.concatenate(gather_object([make(mine)] if len(mine) else []))
