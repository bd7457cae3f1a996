"""Exact ranking of a gallery for every query: CMC, two kinds of AP, mINP (Market-1501's protocol).

Only a query's own matches matter for the metrics, and there are few of them, so their ranks are
found by counting the gallery images that come before them. Nothing is sorted, and only a block of
similarities is in memory at a time. Every comparison is made on the same float32 numbers, so that
counting gives exactly what a stable sort by decreasing similarity would give.

Per query, gallery images of the same person seen by the same camera are left out, and so is junk
(person "-1"). Distractors (person "0000") are ordinary negatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookalike.errors import UserError

JUNK = "-1"
CMC_RANKS = 50  # length of the CMC curve
BLOCK_BYTES = 32 * 1024 * 1024  # of similarities held at once

Features = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Labels = Sequence[object] | npt.NDArray[np.generic]  # any ids; compared as text


@dataclass(frozen=True)
class Ranking:
    """Results per query, in the queries' order; a query without any valid match is invalid.

    Attributes:
        ap: average precision, the mean of the precision at each match; NaN where invalid.
        ap_trapezoidal: the original Market-1501 code's variant: each precision is averaged with
            the one just before the match (1 before rank 1). Never above `ap`; NaN where invalid.
        inp: number of matches / rank of the last one (Ye et al. 2021); NaN where invalid.
        first_match_rank: rank of the best match, from 1; -1 where invalid.
        query_cameras: the queries' cameras, as text.
        problem: why queries are invalid, in words; empty if all are valid.
    """

    ap: Floats
    ap_trapezoidal: Floats
    inp: Floats
    first_match_rank: Indices
    query_cameras: npt.NDArray[np.str_]
    problem: str

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Which queries have a match that counts."""
        return self.first_match_rank > 0

    @property
    def cmc(self) -> Floats:
        """Share of the valid queries with a match within rank 1, 2, ... `CMC_RANKS`."""
        first = self.first_match_rank[self.valid]
        return np.asarray((first[:, None] <= np.arange(1, CMC_RANKS + 1)).mean(axis=0))

    def summary(self, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
        """`rank_K`, `mAP`, `mAP_trapezoidal` and `mINP` over valid queries, as fractions of 1.

        Also the counts `queries` and `invalid_queries`.
        """
        first = self.first_match_rank[self.valid]
        return {
            **{f"rank_{k}": float((first <= k).mean()) for k in ranks},
            "mAP": float(np.nanmean(self.ap)),
            "mAP_trapezoidal": float(np.nanmean(self.ap_trapezoidal)),
            "mINP": float(np.nanmean(self.inp)),
            "queries": float(len(self.ap)),
            "invalid_queries": float((~self.valid).sum()),
        }

    def rank_1_by_camera(self) -> dict[str, float]:
        """Rank-1 of the valid queries of each camera that has any."""
        cameras = self.query_cameras[self.valid]
        hits = self.first_match_rank[self.valid] == 1
        return {str(c): float(hits[cameras == c].mean()) for c in np.unique(cameras)}


@dataclass(frozen=True)
class TopMatches:
    """The best gallery images of each query, for ranked lists.

    Attributes:
        indices: int64 [Q, k] into the gallery, best first; -1 where fewer than k are left.
        similarities: float32 [Q, k], cosine; NaN where there is no image.
        correct: bool [Q, k], whether it shows the query's person.
    """

    indices: Indices
    similarities: Features
    correct: npt.NDArray[np.bool_]


def rank(
    query: Features,
    gallery: Features,
    query_persons: Labels,
    gallery_persons: Labels,
    query_cameras: Labels,
    gallery_cameras: Labels,
) -> Ranking:
    """Rank the gallery by cosine similarity for each query; ties keep the gallery's order.

    Args:
        query: features [Q, D]; any length, only their direction counts.
        gallery: features [G, D].
        query_persons: Q person ids, of any type, compared as text.
        gallery_persons: G person ids; "-1" is junk.
        query_cameras: Q camera ids.
        gallery_cameras: G camera ids.

    Raises:
        ValueError: shapes do not fit together, or features are not finite.
        UserError: no query has a match; says what is wrong with the split or the cameras.
    """
    trial = _Trial(query, gallery, query_persons, gallery_persons, query_cameras, gallery_cameras)
    problem = trial.explain_invalid()
    count = len(query)
    ap, trapezoidal, inp = (np.full(count, np.nan) for _ in range(3))
    first = np.full(count, -1, dtype=np.int64)
    for number, row, matches in trial.rows():
        if len(matches) == 0:
            continue
        ranks = np.sort([_rank_of(row, match) for match in matches])
        hits = np.arange(1, len(ranks) + 1)
        precision = hits / ranks
        # Just before rank 1 nothing has been seen yet: precision 1, as in the MATLAB code.
        before = np.where(ranks > 1, (hits - 1) / np.maximum(ranks - 1, 1), 1.0)
        ap[number] = precision.mean()
        trapezoidal[number] = (precision + before).mean() / 2
        inp[number] = len(ranks) / ranks[-1]
        first[number] = ranks[0]
    return Ranking(ap, trapezoidal, inp, first, _text(query_cameras), problem)


def top_matches(
    query: Features,
    gallery: Features,
    query_persons: Labels,
    gallery_persons: Labels,
    query_cameras: Labels,
    gallery_cameras: Labels,
    k: int = 10,
) -> TopMatches:
    """The `k` best gallery images of each query under the rules of `rank` (same arguments).

    Queries without a match get their list all the same.
    """
    trial = _Trial(query, gallery, query_persons, gallery_persons, query_cameras, gallery_cameras)
    indices = np.full((len(query), k), -1, dtype=np.int64)
    similarities = np.full((len(query), k), np.nan, dtype=np.float32)
    correct = np.zeros((len(query), k), dtype=np.bool_)
    for number, row, matches in trial.rows():
        # All that tie with the k-th stay in, so that the stable order decides between them.
        bound = np.partition(row, -k)[-k] if len(row) > k else -np.inf
        candidates = np.flatnonzero((row >= bound) & (row > -np.inf))
        best = candidates[np.argsort(-row[candidates], kind="stable")][:k]
        indices[number, : len(best)] = trial.kept[best]
        similarities[number, : len(best)] = row[best]
        correct[number, : len(best)] = np.isin(best, matches)
    return TopMatches(indices, similarities, correct)


def _rank_of(row: Features, match: int) -> int:
    """The rank (from 1) that a stable sort by decreasing similarity gives to position `match`."""
    value = row[match]
    before = np.count_nonzero(row[:match] >= value)
    return int(1 + before + np.count_nonzero(row[match:] > value))


class _Trial:
    """Queries against a gallery without junk; `kept` maps its positions to the caller's gallery."""

    def __init__(
        self,
        query: Features,
        gallery: Features,
        query_persons: Labels,
        gallery_persons: Labels,
        query_cameras: Labels,
        gallery_cameras: Labels,
    ):
        if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
            raise ValueError(
                f"features must be [Q, D] and [G, D], not {query.shape} and {gallery.shape}"
            )
        for side, features, persons, cameras in (
            ("query", query, query_persons, query_cameras),
            ("gallery", gallery, gallery_persons, gallery_cameras),
        ):
            if not len(features) == len(persons) == len(cameras):
                raise ValueError(
                    f"{side}: {len(features)} features, {len(persons)} persons and "
                    f"{len(cameras)} cameras; there must be one of each per image"
                )
            if not np.isfinite(features).all():
                raise ValueError(f"{side}: features hold NaN or infinity; the model has diverged")
        persons = _text(gallery_persons)
        self.kept = np.flatnonzero(persons != JUNK)
        self.query, self.gallery = _unit(query), _unit(gallery[self.kept])
        self.query_persons, self.gallery_persons = _text(query_persons), persons[self.kept]
        self.query_cameras = _text(query_cameras)
        self.gallery_cameras = _text(gallery_cameras)[self.kept]
        # Gallery positions grouped by person, ascending within each.
        self._order = np.argsort(self.gallery_persons, kind="stable")
        grouped = self.gallery_persons[self._order]
        self._starts = np.searchsorted(grouped, self.query_persons, side="left")
        self._ends = np.searchsorted(grouped, self.query_persons, side="right")

    def same_person(self, number: int) -> tuple[Indices, Indices]:
        """Gallery positions of a query's person: those that count, and those left out."""
        own = self._order[self._starts[number] : self._ends[number]]
        same_camera = self.gallery_cameras[own] == self.query_cameras[number]
        return own[~same_camera], own[same_camera]

    def rows(self) -> Iterator[tuple[int, Features, Indices]]:
        """Per query: its number, its similarities (-inf where left out), its matches."""
        block = max(1, BLOCK_BYTES // max(4 * len(self.gallery), 1))
        for start in range(0, len(self.query), block):
            similarities = self.query[start : start + block] @ self.gallery.T
            for number, row in enumerate(similarities, start):
                matches, left_out = self.same_person(number)
                row[left_out] = -np.inf
                yield number, row, matches

    def explain_invalid(self) -> str:
        """Why queries have no match; empty if all have one.

        Raises:
            UserError: none has one.
        """
        total = len(self.query)
        if total == 0:
            raise UserError("there are no query images; check the split")
        if len(self.gallery) == 0:
            raise UserError("the gallery is empty or all junk (person -1); check the split")
        absent = self._starts == self._ends
        valid = np.array([len(self.same_person(n)[0]) > 0 for n in range(total)])
        same_camera = int((~valid & ~absent).sum())
        if valid.all():
            return ""
        parts = []
        if absent.any():
            example = self.query_persons[absent][0]
            parts.append(
                f"{int(absent.sum())} because their person has no gallery image (such as {example})"
            )
        if same_camera:
            example = self.query_persons[~valid & ~absent][0]
            parts.append(
                f"{same_camera} because their person's gallery images all come from the query's "
                f"own camera (such as {example})"
            )
        problem = f"{int((~valid).sum())} of {total} queries have no match: " + ", ".join(parts)
        if valid.any():
            return problem
        if len(np.unique(np.concatenate([self.query_cameras, self.gallery_cameras]))) == 1:
            advice = "every image has the same camera id; give the images their real cameras"
        elif same_camera:
            advice = "give the images their real cameras, or draw queries from other cameras"
        else:
            advice = "queries and gallery must show the same persons; check the split"
        raise UserError(f"{problem}; {advice}")


def _text(labels: Labels) -> npt.NDArray[np.str_]:
    return np.asarray([str(label) for label in labels], dtype=np.str_)


def _unit(features: Features) -> Features:
    """Float32 rows of unit length; a zero row stays zero and is equally far from everything."""
    features = np.ascontiguousarray(features, dtype=np.float32)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, np.finfo(np.float32).tiny))
