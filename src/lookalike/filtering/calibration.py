"""Thresholds read off real images: how much of the real thing a bound may reject."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lookalike.config import Threshold

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bound:
    """A score's lower bound (what reaches it passes), where it comes from, what it does to real.

    Attributes:
        value: the bound; a score below it is rejected.
        how: "given", or the allowed rejection rate and the images that it was read off.
        real_rejected: share of the real images that it rejects.
    """

    value: float
    how: str
    real_rejected: float


def threshold_for(scores: Scores, rejection_rate: float) -> float:
    """The highest bound that rejects (score < bound) at most `rejection_rate` of `scores`.

    Rates of 0 and 1 give the lowest score and a bound above the highest one.

    Raises:
        ValueError: no scores, NaN among them, or a rate outside [0, 1].
    """
    _check(scores)
    if not 0 <= rejection_rate <= 1:
        raise ValueError(f"a rejection rate is between 0 and 1, not {rejection_rate}")
    # The tolerance keeps 0.07 * 100 = 7.000000000000001 and 0.29 * 100 = 28.999999999999996 whole.
    rejected = math.floor(rejection_rate * len(scores) + 1e-9)
    if rejected == len(scores):
        return float(np.nextafter(scores.max(), np.inf))
    return float(np.sort(scores)[rejected])


def calibrate(threshold: Threshold, real_scores: Scores, what: str) -> Bound:
    """Turn a parameter into a bound; `what` names the images that `real_scores` are of."""
    if threshold.rejection_rate is None:
        assert threshold.value is not None
        value, how = threshold.value, "given"
        _check(real_scores)
    else:
        value = threshold_for(real_scores, threshold.rejection_rate)
        how = f"rejects at most {threshold.rejection_rate:.2%} of {len(real_scores)} {what}"
    return Bound(value, how, float(np.mean(real_scores < value)))


def rejection_curve(scores: Scores, points: int = 101) -> pd.DataFrame:
    """Share of `scores` below evenly spaced thresholds: columns threshold, rejected (the study)."""
    _check(scores)
    thresholds = np.linspace(scores.min(), scores.max(), points)
    rejected = np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)
    return pd.DataFrame({"threshold": thresholds, "rejected": rejected})


def _check(scores: Scores) -> None:
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError("calibration needs real images with finite scores")
