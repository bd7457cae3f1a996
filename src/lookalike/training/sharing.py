"""The processes of a launcher share what a network makes of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from accelerate.utils import gather_object

from lookalike.data.loading import Images
from lookalike.training.session import Session

Number = TypeVar("Number", np.float32, np.float64)


def shared(
    make: Callable[[Images], npt.NDArray[Number]], images: Images, session: Session, unit: int
) -> npt.NDArray[Number]:
    """What `make` makes of all images, each process making a share; all get the whole, [N, ...].

    Every process calls it with the same images, and in the same order of calls.

    Args:
        make: one row of each image: uint8 [N, H, W, 3] to [N, ...].
        images: to make it of.
        session: the processes.
        unit: images; where a share begins. A multiple of `make`'s batches, so that the batches are
            those of one process.
    """
    if session.world == 1 or not len(images):
        return make(images)
    units = -(-len(images) // unit)
    start, end = (unit * (units * i // session.world) for i in (session.rank, session.rank + 1))
    mine = images[start:end]
    return np.concatenate(gather_object([make(mine)] if len(mine) else []))
