"""The processes of a launcher share what networks and detectors make of crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from accelerate.utils import gather_object

from lookalike.data.loading import Images
from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Detector
from lookalike.training.session import Session

Number = TypeVar("Number", np.float32, np.float64)
UNIT = 64  # images; a multiple of every batch, so that the batches are those of one process


def shared(
    make: Callable[[Images], npt.NDArray[Number]], images: Images, session: Session
) -> npt.NDArray[Number]:
    """What `make` makes of all images, each process making a share; all get the whole, [N, ...].

    Every process calls it with the same images, and in the same order of calls.

    Args:
        make: one row of each image: uint8 [N, H, W, 3] to [N, ...].
        images: to make it of.
        session: the processes.
    """
    if session.world == 1 or not len(images):
        return make(images)
    units = -(-len(images) // UNIT)
    start, end = (UNIT * (units * i // session.world) for i in (session.rank, session.rank + 1))
    mine = images[start:end]
    return np.concatenate(gather_object([make(mine)] if len(mine) else []))


@dataclass(frozen=True)
class SharedDetector:
    """A detector whose work the processes share; see `shared`."""

    detector: Detector
    session: Session

    def score(self, images: Images) -> Scores:
        """See Detector."""
        return shared(self.detector.score, images, self.session)
