"""Pairs of images of one person: who from the first, how from the second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.data.loading import Images
from lookalike.seeds import derive_seed
from lookalike.training.sampler import ShuffledSampler


class Pairs:
    """Endless shuffled pairs; position `i` is always the same pair.

    Args:
        images: uint8 [N, H, W, 3].
        persons: of each image [N].
        labels: int64 [N], a class of each.
        seed: of the shuffles.
        same: share of pairs of an image with itself.

    Images are flipped with probability one half; those of a pair differently, if they are two.
    """

    def __init__(
        self,
        images: Images,
        persons: Sequence[object],
        labels: NDArray[np.int64],
        seed: int,
        *,
        same: float,
    ):
        self.images, self.labels, self.seed, self.same = images, labels, seed, same
        self.sampler = ShuffledSampler(len(images), seed)
        _, numbers = np.unique(np.asarray(persons, dtype=str), return_inverse=True)
        order = np.argsort(numbers, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
        self.fellows = [members[number] for number in numbers]

    def read(self, start: int, count: int) -> tuple[Images, Images, NDArray[np.int64]]:
        """Appearances and targets, uint8 [count, H, W, 3], and the targets' labels [count]."""
        targets = self.sampler.indices(start, count)
        draw = np.random.default_rng(derive_seed(self.seed, "pairs", start))
        others = np.array([draw.choice(self.fellows[target]) for target in targets])
        alone = draw.random(count) < self.same
        flipped = draw.random((2, count)) < 0.5
        flipped[0] = np.where(alone, flipped[1], flipped[0])
        others = np.where(alone, targets, others)

        def pixels(indices: NDArray[np.int64], flip: NDArray[np.bool_]) -> Images:
            images = self.images[indices]
            return np.where(flip[:, None, None, None], images[:, :, ::-1], images)

        labels = self.labels[targets]
        return pixels(others, flipped[0]), pixels(targets, flipped[1]), labels
