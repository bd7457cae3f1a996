"""A few of many, for people to look at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def spread(size: int, count: int) -> npt.NDArray[np.intp]:
    """At most `count` positions of 0..size-1 at even distances, from the first to the last.

    Each once, in their order; all of them where there are no more.
    """
    places = np.linspace(0, size - 1, min(size, count))
    return np.unique(places.round().astype(np.intp))
