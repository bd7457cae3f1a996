"""Near-copies: what shows a person as another image does adds nothing to a training set.

Two measures: SSIM finds nearly the same pixels, re-ID features the same view of the person, if
slightly moved or lit otherwise. Both compare with what is kept; neither rejects the first image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Crops, Mask
from lookalike.filtering.ssim import luma, pairwise_ssim
from lookalike.progress import track


@dataclass(frozen=True)
class Copies:
    """Which crops are copies of one that is kept.

    Attributes:
        pixels: by SSIM.
        views: of the others, by re-ID features.
        diversity: float64 [N]; 1 - the highest cosine to an earlier kept image of the person. NaN
            for the first, and for what was no candidate.
    """

    pixels: Mask
    views: Mask
    diversity: Scores


def near_copies(
    crops: Crops, candidates: Mask, similarity: float, least: float = -np.inf
) -> Copies:
    """Take each person's candidates by `image_id` and keep what is no copy of one that is kept.

    Args:
        crops: to choose from.
        candidates: that may be kept.
        similarity: SSIM above which an image is a copy.
        least: diversity below which it is one.
    """
    count = len(crops.rows)
    pixels, views, diversity = np.zeros(count, bool), np.zeros(count, bool), np.full(count, np.nan)
    for rows in track(crops.by_person(), "near-copies"):
        rows = rows[candidates[rows]]
        if len(rows) < 2:
            continue
        likeness = pairwise_ssim(luma(crops.images[rows]))
        distances = _distances(crops, rows)
        kept = [0]
        for position, row in enumerate(rows[1:], 1):
            diversity[row] = distances[position, kept].min()
            pixels[row] = likeness[position, kept].max() > similarity
            views[row] = not pixels[row] and diversity[row] < least
            if not pixels[row] and not views[row]:
                kept.append(position)
    return Copies(pixels, views, diversity)


def diversity_of_real(crops: Crops) -> Scores:
    """1 - the highest cosine of each image to the person's before it, by `image_id`: float64 [M].

    M is less than the number of crops by that of the persons: their first images have none before.
    """
    scores = [np.empty(0)]
    for rows in crops.by_person():
        distances = _distances(crops, rows)
        scores.append(np.array([distances[n, :n].min() for n in range(1, len(rows))]))
    return np.concatenate(scores)


def _distances(crops: Crops, rows: np.ndarray) -> Scores:
    vectors = crops.embeddings[rows].astype(np.float64)
    distances: Scores = 1 - vectors @ vectors.T
    return distances
