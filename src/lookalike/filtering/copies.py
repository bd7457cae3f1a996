"""Near-copies: what shows a person as another image does adds nothing to a training set.

Two measures: SSIM finds nearly the same pixels, re-ID features the same view of the person, if
slightly moved or lit otherwise. Both compare with what is kept; neither rejects the first image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Crops, Mask
from lookalike.filtering.sharing import Groups, Rows, shared_by_person
from lookalike.filtering.ssim import luma, pairwise_ssim
from lookalike.progress import track
from lookalike.training.session import Session


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
    crops: Crops,
    candidates: Mask,
    similarity: float,
    least: float = -np.inf,
    session: Session | None = None,
) -> Copies:
    """Take each person's candidates by `image_id` and keep what is no copy of one that is kept.

    Args:
        crops: to choose from.
        candidates: that may be kept.
        similarity: SSIM above which an image is a copy.
        least: diversity below which it is one.
        session: its processes share the persons.
    """

    def search(groups: Groups) -> Scores:
        found = [np.empty((0, 3))]
        for rows in track(groups, "near-copies"):
            verdicts = np.tile([0, 0, np.nan], (len(rows), 1))
            left = candidates[rows]
            verdicts[left] = _of_person(crops, rows[left], similarity, least)
            found.append(verdicts)
        return np.concatenate(found)

    pixels, views, diversity = shared_by_person(search, crops, session).T
    return Copies(pixels == 1, views == 1, diversity)


def _of_person(crops: Crops, rows: Rows, similarity: float, least: float) -> Scores:
    """Whether each is a copy by its pixels, by its view, and its diversity: float64 [N, 3]."""
    found = np.tile([0, 0, np.nan], (len(rows), 1))
    if len(rows) < 2:
        return found
    likeness = pairwise_ssim(luma(crops.images[rows]))
    distances = _distances(crops, rows)
    kept = [0]
    for position in range(1, len(rows)):
        diversity = distances[position, kept].min()
        pixels = likeness[position, kept].max() > similarity
        view = not pixels and diversity < least
        found[position] = pixels, view, diversity
        if not pixels and not view:
            kept.append(position)
    return found


def diversity_of_real(crops: Crops) -> Scores:
    """1 - the highest cosine of each image to the person's before it, by `image_id`: float64 [M].

    M is less than the number of crops by that of the persons: their first images have none before.
    """
    scores = [np.empty(0)]
    for rows in crops.by_person():
        distances = _distances(crops, rows)
        scores.append(np.array([distances[n, :n].min() for n in range(1, len(rows))]))
    return np.concatenate(scores)


def _distances(crops: Crops, rows: Rows) -> Scores:
    vectors = crops.embeddings[rows].astype(np.float64)
    distances: Scores = 1 - vectors @ vectors.T
    return distances
