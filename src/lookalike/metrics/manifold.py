"""Improved precision and recall (Kynkäänniemi et al. 2019): how real, and how varied.

A set of features spans a manifold: the union of balls around its samples, each as wide as the
distance to its k-th nearest neighbour. Precision is the share of generated samples on the manifold
of the real ones, recall the share of real samples on that of the generated ones.

Distances are computed a block at a time, so memory does not grow with the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lookalike.metrics.distances import Features, Matrix, checked

NEIGHBOUR = 3  # k, as in the paper
BLOCK = 1024  # rows and columns of distances at once: 8 MiB


def precision_and_recall(
    real: Features, fake: Features, real_radii: Matrix | None = None
) -> tuple[float, float]:
    """Precision and recall of `fake`, float [M, D], against `real`, float [N, D]; both in [0, 1].

    Args:
        real_radii: `radii(real)`, where it is at hand.

    Raises:
        ValueError: fewer than 4 samples, different D, or values that are not finite.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"fake features are {fake.shape}, real {real.shape}")
    real, fake = checked(real, "real"), checked(fake, "fake")
    if real_radii is None:
        real_radii = radii(real)
    fake_radii = radii(fake)
    real_covered, fake_covered = np.zeros(len(real), bool), np.zeros(len(fake), bool)
    for rows in _blocks(fake):
        for columns in _blocks(real):
            squares = _squared_distances(fake[rows], real[columns])
            fake_covered[rows] |= (squares <= real_radii[columns]).any(axis=1)
            real_covered[columns] |= (squares <= fake_radii[rows, None]).any(axis=0)
    return float(fake_covered.mean()), float(real_covered.mean())


def radii(features: Features) -> Matrix:
    """The squared distance from each of [N, D] to its third nearest neighbour, [N].

    Raises:
        ValueError: fewer than 4 samples, or values that are not finite.
    """
    if len(features) <= NEIGHBOUR:
        raise ValueError(
            f"precision and recall need at least {NEIGHBOUR + 1} samples, not {len(features)}"
        )
    # The nearest is the sample itself, at 0.
    return nearest(features, features, NEIGHBOUR + 1)


def nearest(features: Features, among: Features, k: int) -> Matrix:
    """The squared distance from each of [N, D] to its k-th nearest of [M, D], [N].

    Raises:
        ValueError: fewer than k samples to be near to, different D, or values that are not finite.
    """
    if features.shape[1:] != among.shape[1:]:
        raise ValueError(f"features are {features.shape}, those they are near to {among.shape}")
    if len(among) < k:
        raise ValueError(f"{len(among)} samples have no {k} nearest")
    points = checked(features, "all")
    others = points if among is features else checked(among, "near")
    found = []
    for rows in _blocks(points):
        closest = np.full((len(points[rows]), k), np.inf)
        for columns in _blocks(others):
            squares = _squared_distances(points[rows], others[columns])
            candidates = np.concatenate([closest, squares], axis=1)
            closest = np.partition(candidates, k - 1, axis=1)[:, :k]
        found.append(closest.max(axis=1))
    return np.concatenate(found)


def _blocks(points: Matrix) -> Iterator[slice]:
    for start in range(0, len(points), BLOCK):
        yield slice(start, start + BLOCK)


def _squared_distances(a: Matrix, b: Matrix) -> Matrix:
    squares: Matrix = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return squares.clip(min=0)  # rounding can leave a little less than 0
