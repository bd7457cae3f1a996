"""The classes of a conditional generator: what they are called, and how often each was seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from lookalike.errors import UserError
from lookalike.seeds import derive_seed

Labels = npt.NDArray[np.int64]  # positions in Classes.names
SHOWN = 8  # names in a message


@dataclass(frozen=True)
class Classes:
    """What the labels of a conditional generator stand for."""

    condition: str
    """person, camera, or class where nobody knows better."""
    names: tuple[str, ...]
    """A label is a position in this list."""
    counts: tuple[int, ...]
    """Training images of each."""

    @classmethod
    def of(cls, condition: str, values: Iterable[object]) -> tuple[Self, Labels]:
        """The classes of a training set, names sorted, and the label of each image [N]."""
        names, labels, counts = np.unique(
            [str(value) for value in values], return_inverse=True, return_counts=True
        )
        classes = cls(condition, tuple(map(str, names)), tuple(map(int, counts)))
        return classes, labels.astype(np.int64)

    def label(self, name: str) -> int:
        """The label of a class.

        Raises:
            UserError: there is no class of that name.
        """
        if name not in self.names:
            more = f" and {len(self.names) - SHOWN} more" if len(self.names) > SHOWN else ""
            known = ", ".join(self.names[:SHOWN]) + more
            raise UserError(f"no class {name!r}: the generator knows {self.condition} {known}")
        return self.names.index(name)

    def draw(self, count: int, random: np.random.Generator) -> Labels:
        """Labels [count], each class as frequent as among the training images."""
        bounds = np.cumsum(self.counts)
        drawn = random.integers(bounds[-1], size=count)
        return np.searchsorted(bounds, drawn, side="right").astype(np.int64)

    def name_of_seed(self, *parts: object) -> str:
        """The class that a seed draws, the same on every machine."""
        random = np.random.default_rng(derive_seed("class", *parts))
        return self.names[int(self.draw(1, random)[0])]
