"""How similar matching and other pairs of query and gallery images are, counted in bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lookalike.reid.similarities import Cosines
from lookalike.reid.trial import Trial

BINS = 2000  # of equal width over the cosine's range
EDGES = np.linspace(-1, 1, BINS + 1)
WIDE = 20  # bins to one of the overlap's, and of a picture's: 0.02 wide
BLOCK_PAIRS = 8 * 1024 * 1024  # similarities held at once

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PairSimilarities:
    """Numbers of pairs by cosine similarity, in the bins between `EDGES`.

    Attributes:
        matching: int64 [BINS], pairs of one person seen by two cameras.
        others: int64 [BINS], pairs of two persons, distractors included.
    """

    matching: Counts
    others: Counts

    @property
    def equal_error_rate(self) -> float:
        """Share of wrong decisions at the threshold where both kinds of pairs err equally often.

        Matching pairs err below the threshold, others at it or above. Linear between edges; NaN
        where one kind has no pairs.
        """
        if not (self.matching.any() and self.others.any()):
            return float("nan")
        missed = np.concatenate([[0.0], np.cumsum(self.matching) / self.matching.sum()])
        accepted = 1 - np.concatenate([[0.0], np.cumsum(self.others) / self.others.sum()])
        above = int(np.argmax(missed >= accepted))  # at the last edge 1 >= 0
        before, after = (missed - accepted)[above - 1], (missed - accepted)[above]
        share = -before / (after - before)
        return float(missed[above - 1] + share * (missed[above] - missed[above - 1]))

    @property
    def overlap(self) -> float:
        """Common area of both distributions in bins of 0.02: 0 apart, 1 equal, NaN without one."""
        if not (self.matching.any() and self.others.any()):
            return float("nan")
        matching, others = (
            counts.reshape(-1, WIDE).sum(1) / counts.sum()
            for counts in (self.matching, self.others)
        )
        return float(np.minimum(matching, others).sum())


def pair_similarities(
    query: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32], trial: Trial
) -> PairSimilarities:
    """Count all pairs that the trial allows: junk and a person's images by one camera are out.

    Args:
        query, gallery: features [Q, D] and [G, D].
        trial: their labels.

    Raises:
        UserError: features are not finite.
    """
    cosines = Cosines(query, gallery, trial)
    rows = max(1, BLOCK_PAIRS // max(1, len(trial.kept)))
    everything, matching, left_out = (np.zeros(BINS, np.int64) for _ in range(3))
    for start in range(0, len(trial), rows):
        block = range(start, min(start + rows, len(trial)))
        values = cosines.block(block)
        everything += _count(values)
        for counts, pairs in zip((matching, left_out), trial.pairs(block), strict=True):
            counts += _count(values[torch.from_numpy(pairs[0]), torch.from_numpy(pairs[1])])
    return PairSimilarities(matching, everything - matching - left_out)


def _count(values: Tensor) -> Counts:
    bins = ((values.flatten() + 1) * (BINS / 2)).long().clamp_(0, BINS - 1)
    return torch.bincount(bins, minlength=BINS).cpu().numpy()
