"""What a filter is. One object holds all that belongs to it; the cascade and the report iterate.

A new filter is a file with such an object, its threshold in `FilterConfig`, and its name in
`cascade.FILTERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from lookalike.config import FilterConfig, Threshold
from lookalike.data.loading import Images
from lookalike.filtering.calibration import Scores
from lookalike.training.session import Session

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Crops:
    """Manifest rows with their pixels and features, in the same order.

    Attributes:
        rows: manifest.
        images: uint8 [N, H, W, 3].
        embeddings: of a re-ID model, float32 [N, D], unit length.
        neutral: features that no loss has seen, float32 [N, E]; None where no filter asks for them.
    """

    rows: pd.DataFrame
    images: Images
    embeddings: npt.NDArray[np.float32]
    neutral: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.images) == len(self.embeddings)
        assert self.neutral is None or len(self.neutral) == len(self.rows)

    def where(self, mask: Mask) -> Crops:
        """The rows that `mask` marks."""
        neutral = None if self.neutral is None else self.neutral[mask]
        return Crops(self.rows[mask], self.images[mask], self.embeddings[mask], neutral)

    @property
    def persons(self) -> npt.NDArray[np.object_]:
        """person_id of each row."""
        return self.rows["person_id"].to_numpy(dtype=object)

    def by_person(self) -> list[npt.NDArray[np.intp]]:
        """Positions of each person's rows, in the order of `image_id`."""
        table = self.rows[["person_id", "image_id"]].reset_index(drop=True)
        table = table.sort_values(["person_id", "image_id"])
        return [rows.index.to_numpy() for _, rows in table.groupby("person_id", sort=True)]


class Detector(Protocol):
    """Scores crops; higher means more surely a person."""

    def score(self, images: Images) -> Scores:
        """The score of each crop: uint8 [N, H, W, 3] to float64 [N]."""


@dataclass(frozen=True)
class Material:
    """What a filter may look at.

    Attributes:
        generated: the crops to judge, in any order.
        left: those of them that the filters before have left.
        train, val: real crops of these splits; neither is empty.
        detector: which is chosen.
        session: the processes that filter; all are given the same. A filter whose scores take long
            shares them out (`training.sharing`); others are worked out by each process.
    """

    generated: Crops
    left: Mask
    train: Crops
    val: Crops
    detector: Detector
    session: Session | None = None


@dataclass(frozen=True)
class Filter:
    """A score of generated crops with a lower bound.

    Attributes:
        name: of its score, and the reason for which it rejects.
        threshold: its bound among the parameters; None where it is not used.
        score: float64 [N] of the generated crops, higher is better; NaN passes.
        score_real: of the real crops that the bound is calibrated on.
        real: what these are, in words.
        origin: of the images that it judges; None: of both.
        neutral: whether it looks at `Crops.neutral`, which take a network to make.

    Raises:
        TypeError: the threshold is a field that `FilterConfig` does not have (yet).
    """

    name: str
    threshold: Callable[[FilterConfig], Threshold | None]
    score: Callable[[Material], Scores]
    score_real: Callable[[Material], Scores]
    real: str
    origin: Literal["person", "variation"] | None = None
    neutral: bool = False

    def __post_init__(self) -> None:
        try:
            self.threshold(FilterConfig())
        except AttributeError as error:
            raise TypeError(
                f"filter {self.name}: {error}; give it the field in config/filtering.py"
            ) from error
