"""Which images make up a batch: a pure function of the images seen so far."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lookalike.training.session import derive_seed


class ShuffledSampler:
    """Endless shuffled passes over `size` images; position `i` is always the same image.

    Stateless, as in EDM2 (Karras et al. 2024): a resumed run and any number of processes read
    exactly what one uninterrupted process would have read.
    """

    def __init__(self, size: int, seed: int):
        assert size > 0
        self.size, self.seed = size, seed
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng(derive_seed(self.seed, "epoch", epoch)).permutation(self.size)

    def indices(self, start: int, count: int) -> npt.NDArray[np.int64]:
        """The images at positions start..start+count of the endless sequence."""
        positions = np.arange(start, start + count)
        epochs = positions // self.size
        parts = [self._epoch(int(e))[positions[epochs == e] % self.size] for e in np.unique(epochs)]
        return np.concatenate(parts)
