"""What filters share among the processes of a launcher.

All processes walk the same cascade. Where they share work they cut it by images or by persons and
never by verdicts: should machines disagree in a last digit, the parts still fit together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Crops
from lookalike.training.session import Session
from lookalike.training.sharing import shared

UNIT = 64  # images; a multiple of the batch of every network that filters look through
Rows = npt.NDArray[np.intp]  # positions
Groups = list[Rows]  # of each person's


def shared_by_person(
    make: Callable[[Groups], Scores], crops: Crops, session: Session | None
) -> Scores:
    """What `make` makes of each crop, [N, ...], each process taking some of the persons.

    Args:
        make: a row for each position in the groups, in their order.
        crops: whose persons to share out.
        session: see `training.sharing`.
    """
    groups = crops.by_person()
    if not groups:
        return make(groups)
    found = shared(make, groups, session, 1)
    ordered = np.empty_like(found)
    ordered[np.concatenate(groups)] = found
    return ordered
