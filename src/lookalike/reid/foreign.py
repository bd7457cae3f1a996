"""Features that another program computed, measured by the same protocol as ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from lookalike.arguments import features_file
from lookalike.errors import UserError
from lookalike.reid.npz_files import reading

if TYPE_CHECKING:
    from lookalike.reid.ranking import Ranking

LABELS = ("query_persons", "gallery_persons", "query_cameras", "gallery_cameras")


@dataclass(frozen=True)
class FeatureFile:
    """An npz file of features and labels.

    Attributes:
        path: where it is, for messages.
        query: float32 [Q, D], of any length.
        gallery: float32 [G, D].
        labels: persons of queries and gallery, cameras of queries and gallery; person -1 is junk.
    """

    path: Path
    query: npt.NDArray[np.float32]
    gallery: npt.NDArray[np.float32]
    labels: tuple[npt.NDArray[np.generic], ...]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `query`, `gallery` and the four LABELS; nothing in the file is executed.

        Whatever else the file holds is not looked at.

        Raises:
            UserError: no such file, another kind of file, or an array is missing, of Python
                objects, of a shape that does not fit, or of features that are not finite; says
                which.
        """
        features_file(path)
        with reading(path, "file of features", "numpy.savez"):
            found = _read(path)
        query, gallery = (
            _features(found[side], f"{path}: {side}") for side in ("query", "gallery")
        )
        if query.shape[1] != gallery.shape[1]:
            raise UserError(
                f"{path}: query has {query.shape[1]} columns, gallery {gallery.shape[1]}; features "
                "of one model have as many"
            )
        for label in LABELS:
            side = label.partition("_")[0]
            rows = len(found[side])
            if found[label].shape != (rows,):
                raise UserError(
                    f"{path}: {label} has shape {list(found[label].shape)}; {side} has {rows} "
                    "rows, and each needs one"
                )
        return cls(path, query, gallery, tuple(found[name] for name in LABELS))

    def rank(self, *, rerank_too: bool = False) -> tuple[Ranking, Ranking | None]:
        """Rank by cosine similarity and, if asked, also by k-reciprocal neighbours.

        Raises:
            UserError: a label is neither text nor a whole number, or no query has a match.
        """
        from lookalike.reid.evaluation import rank_reranked
        from lookalike.reid.ranking import rank

        query_persons, gallery_persons, query_cameras, gallery_cameras = self.labels
        labels = (query_persons, gallery_persons, query_cameras, gallery_cameras)
        try:
            again = rank_reranked(self.query, self.gallery, labels) if rerank_too else None
            return rank(self.query, self.gallery, *labels), again
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from error


def _read(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """The six arrays."""
    names, found = ("query", "gallery", *LABELS), dict[str, npt.NDArray[np.generic]]()
    with np.load(path, allow_pickle=False) as content:
        missing = [name for name in names if name not in content.files]
        if missing:
            held = " ".join(", ".join(sorted(content.files)).split())[:200] or "nothing"
            raise UserError(
                f"{path} lacks {', '.join(missing)}; it holds {held}; write all six with "
                "numpy.savez, as `lookalike evaluate --help` says"
            )
        for name in names:
            try:
                array = content[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                raise UserError(
                    f"{path}: {name} holds Python objects, which are not read, since reading them "
                    "can run anything; write numbers, or text with .astype(str)"
                ) from error
            if not isinstance(array, np.ndarray):  # the bytes of what is no array
                raise ValueError(f"{name} is no array")
            found[name] = array
    return found


def _features(given: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.float32]:
    """Numbers of any type as float32 [N, D].

    Raises:
        UserError: no numbers, no rows of them, or such as are not finite.
    """
    if given.ndim != 2 or given.dtype.kind not in "fiu" or not given.size:
        raise UserError(
            f"{name} is {given.dtype} {list(given.shape)}; it must hold numbers, a row per image"
        )
    with np.errstate(over="ignore"):  # told below
        features: npt.NDArray[np.float32] = given.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise UserError(
            f"{name} holds NaN, infinity or values too large for float32 in {len(bad)} of "
            f"{len(features)} rows, first in row {bad[0]} (from 0); compute them again, or leave "
            "those images out"
        )
    return features
