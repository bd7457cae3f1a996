"""Features that another program computed, measured by the same protocol as ours."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from lookalike.errors import UserError
from lookalike.formats import format_of_file

if TYPE_CHECKING:
    from lookalike.reid.ranking import Ranking

LABELS = ("query_persons", "gallery_persons", "query_cameras", "gallery_cameras")


@dataclass(frozen=True)
class FeatureFile:
    """An npz file of features and labels.

    Attributes:
        query: float32 [Q, D], of any length.
        gallery: float32 [G, D].
        labels: persons of queries and gallery, cameras of queries and gallery; person -1 is junk.
    """

    query: npt.NDArray[np.float32]
    gallery: npt.NDArray[np.float32]
    labels: tuple[npt.NDArray[np.generic], ...]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `query`, `gallery` and the four LABELS; nothing in the file is executed.

        Raises:
            UserError: no such file, another kind of file, or an array is missing or has no
                fitting shape; says which.
        """
        if not path.is_file():
            raise UserError(f"no features at {path}")
        try:
            with np.load(path, allow_pickle=False) as content:
                found = {name: content[name] for name in content.files}
        except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
            kind = format_of_file(path)
            reason = " ".join(str(error).split())[:200] if "zip" in kind else f"it is {kind}"
            raise UserError(
                f"{path} holds no features: {reason}; write it with numpy.savez"
            ) from error
        missing = [name for name in ("query", "gallery", *LABELS) if name not in found]
        if missing:
            held = ", ".join(sorted(found)) or "nothing"
            raise UserError(f"{path} lacks {', '.join(missing)}; it holds {held}")
        for side in ("query", "gallery"):
            features = found[side]
            if features.ndim != 2 or features.dtype.kind not in "fiu" or not len(features):
                raise UserError(
                    f"{path}: {side} is {features.dtype} {list(features.shape)}; it must hold "
                    "numbers, a row per image"
                )
            for label in (f"{side}_persons", f"{side}_cameras"):
                if found[label].shape != (len(features),):
                    raise UserError(
                        f"{path}: {label} has shape {list(found[label].shape)}; {side} has "
                        f"{len(features)} rows, and each needs one"
                    )
        if found["query"].shape[1] != found["gallery"].shape[1]:
            raise UserError(
                f"{path}: query has {found['query'].shape[1]} columns, gallery "
                f"{found['gallery'].shape[1]}; features of one model have as many"
            )
        query, gallery = (found[side].astype(np.float32) for side in ("query", "gallery"))
        return cls(query, gallery, tuple(found[name] for name in LABELS))

    def rank(self, *, rerank_too: bool = False) -> tuple[Ranking, Ranking | None]:
        """Rank by cosine similarity and, if asked, also by k-reciprocal neighbours.

        Raises:
            UserError: features are not finite, a label is none, or no query has a match.
        """
        from lookalike.reid.evaluation import rank_reranked
        from lookalike.reid.ranking import rank

        query_persons, gallery_persons, query_cameras, gallery_cameras = self.labels
        labels = (query_persons, gallery_persons, query_cameras, gallery_cameras)
        again = rank_reranked(self.query, self.gallery, labels) if rerank_too else None
        return rank(self.query, self.gallery, *labels), again
