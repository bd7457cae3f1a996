"""Random draws that are the same on every machine and under every NumPy version.

NumPy guarantees the raw 64-bit stream of PCG64 and the hashing of `SeedSequence`, but not the
algorithms of `Generator`. Rendered pedestrians are checked byte for byte, so everything they
draw comes from the raw stream.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Stream(IntEnum):
    """What a stream of draws is for: the first number of its key."""

    PLACE = 1
    FOLDS = 2
    PLAN = 3
    PERSON = 4
    PASSAGES = 5
    TRACK = 6
    IMAGE = 7


class Dice:
    """A stream of random draws named by its purpose and a key, such as a seed and a person."""

    def __init__(self, stream: Stream, *key: int) -> None:
        """`key`: integers in 0..2^32 - 1; keys of one stream must have the same length."""
        self._bits = np.random.PCG64(np.random.SeedSequence((int(stream), *key)))

    def unit(self) -> float:
        """Return a number from [0, 1)."""
        return int(self._bits.random_raw() >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """Return a number from [low, high)."""
        return low + (high - low) * self.unit()

    def bell(self, mean: float, spread: float) -> float:
        """Return about a normal draw: the sum of four uniforms, at most 3.5 `spread` off `mean`."""
        return mean + spread * 1.7320508 * (sum(self.unit() for _ in range(4)) - 2.0)

    def integer(self, low: int, high: int) -> int:
        """Return an integer from low..high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.unit() < probability

    def choice(self, items: Sequence[T]) -> T:
        """Return one of `items`, all equally likely."""
        return items[int(self.unit() * len(items))]

    def weighted(self, weights: dict[T, float]) -> T:
        """Return one of the keys with a probability in proportion to its weight."""
        mark = self.unit() * sum(weights.values())
        for item, weight in weights.items():
            mark -= weight
            if mark < 0:
                return item
        return item

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return `items` in random order."""
        keys = [(self.unit(), index) for index in range(len(items))]
        return [items[index] for _, index in sorted(keys)]

    def bytes(self, *shape: int) -> NDArray[np.uint8]:
        """Return uniform bytes of the given shape."""
        count = int(np.prod(shape))
        raw = np.asarray(self._bits.random_raw((count + 7) // 8), dtype="<u8")
        return raw.view(np.uint8)[:count].reshape(shape)
