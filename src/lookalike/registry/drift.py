"""How far the embeddings of what is served have moved from those of the validation persons.

The mean of recent embeddings is compared with that of the validation set, along the set's principal
axes, in standard deviations along each. Who is in front of a camera moves that mean a little, which
camera it is moves it more; so the unit is how far the images of the validation set's most unusual
camera lie from the whole. Well above 1 stands what that set does not know: a camera that was moved,
dimmed or smeared, another place, other clothes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

AXES = 16  # principal axes that are watched
LEAST = 64  # pictures before which nothing is said
WINDOW = 512  # latest pictures that are compared
FEW = 16  # images of a camera from which it counts as one
# Independent pictures alone move the mean by 1/sqrt(LEAST) of a deviation; a person has several.
NOISE = 2 / math.sqrt(LEAST)


@dataclass(frozen=True)
class Reference:
    """The validation set's embeddings, in a few numbers that a model is registered with.

    Attributes:
        mean: float64 [D].
        axes: float64 [K, D], of unit length, divided by the deviation along each.
        usual: how far the most unusual camera's mean is from the whole, in deviations.
    """

    mean: Floats
    axes: Floats
    usual: float

    @classmethod
    def of(cls, embeddings: npt.NDArray[np.floating], cameras: Sequence[int]) -> Self:
        """From embeddings [N, D], N >= 2, and the camera of each."""
        values = np.asarray(embeddings, dtype=np.float64)
        mean = values.mean(axis=0)
        _, scales, axes = np.linalg.svd(values - mean, full_matrices=False)
        deviations = scales / math.sqrt(len(values))
        kept = min(AXES, int((deviations > 1e-6 * deviations[0]).sum()))
        half = cls(mean, axes[:kept] / deviations[:kept, None], 1.0)
        places = half.project(values)
        numbers = np.asarray(cameras)
        parts = [places[numbers == camera] for camera in np.unique(numbers)]
        moved = [distance(part) for part in parts if len(part) >= FEW]
        return cls(half.mean, half.axes, max([NOISE, *moved]))

    def project(self, embeddings: npt.NDArray[np.floating]) -> Floats:
        """Places along the axes, in deviations, [N, K], of embeddings [N, D]."""
        places: Floats = (np.asarray(embeddings, dtype=np.float64) - self.mean) @ self.axes.T
        return places

    def save(self, path: Path) -> None:
        """Write an .npz."""
        np.savez(path, mean=self.mean, axes=self.axes, usual=self.usual)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; nothing is unpickled."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["mean"], file["axes"], float(file["usual"]))


def distance(places: Floats) -> float:
    """Of the mean of places [N, K] from the reference's: root mean square over the axes."""
    return float(np.sqrt(np.square(places.mean(axis=0)).mean()))


class Watch:
    """The latest embeddings of a server, beside a reference."""

    def __init__(self, reference: Reference):
        self.reference = reference
        self.places = np.empty((0, len(reference.axes)))

    def add(self, embeddings: npt.NDArray[np.floating]) -> None:
        """Take embeddings [N, D] in."""
        new = self.reference.project(embeddings)
        self.places = np.concatenate([self.places, new])[-WINDOW:]

    @property
    def drift(self) -> float:
        """See the module: 1 is the validation set's most unusual camera; NaN of too few."""
        places = self.places
        if len(places) < LEAST:
            return float("nan")
        return distance(places) / self.reference.usual

    def figures(self) -> dict[str, tuple[str, float]]:
        """For Prometheus: names, what they are, and their values."""
        about = "How far recent embeddings are from the validation set's; 1: its oddest camera."
        return {
            "embedding_drift": (about, self.drift),
            "embedding_drift_pictures": ("Pictures that the drift is of.", len(self.places)),
        }
