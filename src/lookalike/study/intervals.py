"""How sure a difference is: a paired bootstrap over persons and seeds.

Both are samples: other test persons and other seeds would have given other numbers. So both are
drawn anew, independently of each other (the pigeonhole bootstrap; Owen 2007, Annals of Applied
Statistics 1, 386-411). A person is drawn with all queries, and compared under the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookalike.registry.paired import BOOTSTRAP_SEED, RESAMPLES

CONFIDENCE = 0.95  # two-sided

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean difference per query, and its confidence interval; fractions of 1."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def paired_interval(model: Floats, other: Floats, queries: Floats) -> Interval:
    """By how much a model is better than another one.

    Of n seeds or persons n - 1 are drawn: then the variance of a resampled mean is the unbiased
    estimate of the mean's, while n draws of five seeds would make it a fifth too small (Rao and
    Wu 1988). Of a single seed nothing is known about others; then persons alone are drawn.

    Args:
        model, other: [S, P], per seed and person the sum over the person's queries of what is
            compared (AP, or 1 for a match at rank 1).
        queries: [P], how many each person has.

    Raises:
        ValueError: the shapes do not fit, or there are fewer than two persons.
    """
    differences = model - other
    seeds, persons = differences.shape
    if queries.shape != (persons,) or persons < 2:
        raise ValueError(f"{differences.shape} differences and {queries.shape} numbers of queries")
    rng = np.random.default_rng(BOOTSTRAP_SEED)

    def drawn(count: int) -> npt.NDArray[np.int64]:
        return rng.multinomial(count - 1, np.full(count, 1 / count), size=RESAMPLES)

    by_seed = drawn(seeds) if seeds > 1 else np.ones((RESAMPLES, 1), dtype=np.int64)
    by_person = drawn(persons)
    sums = ((by_seed @ differences) * by_person).sum(axis=1)
    means = sums / (by_seed.sum(axis=1) * (by_person @ queries))
    edge = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [edge, 1 - edge])
    return Interval(float(differences.sum() / (seeds * queries.sum())), float(low), float(high))
