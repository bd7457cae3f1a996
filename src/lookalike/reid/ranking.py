"""Exact ranking of a gallery for every query: CMC, two kinds of AP, mINP (Market-1501's protocol).

Only a query's own matches matter for the metrics, and there are few of them, so their ranks are
found by counting the gallery images that come before them. No gallery is sorted, and only a block
of similarities is in memory at a time. The result does not depend on how the work is cut: see
`lookalike.reid.counting`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lookalike.device import one_thread_each
from lookalike.reid.counting import count_ranks
from lookalike.reid.labels import Indices, Labels
from lookalike.reid.similarities import Cosines, Distances, Features, Given, Similarities
from lookalike.reid.trial import Trial

# Of `summary`: chooses weights and models on validation persons. It sees the whole ranking.
CRITERION = "mAP"
CMC_RANKS = 50  # length of the CMC curve
BLOCK_BYTES = 768 * 1024 * 1024  # of similarities held at once by all threads
# Queries per block on a CPU: enough for the full speed of the product, few enough to stay near the
# cache. Where the gallery is so huge that all threads cannot have the smaller number, fewer work: a
# gallery of 500,000 is ranked by three.
MIN_ROWS, MAX_ROWS = 128, 512

Floats = npt.NDArray[np.float64]


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

    def by_camera(self, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, dict[str, float]]:
        """`summary` of each camera's queries, for each camera that has a valid one."""
        return {
            str(camera): self._of(self.query_cameras == camera).summary(ranks)
            for camera in np.unique(self.query_cameras[self.valid])
        }

    def rank_1_by_camera(self) -> dict[str, float]:
        """Rank-1 of the valid queries of each camera that has any."""
        return {camera: found["rank_1"] for camera, found in self.by_camera((1,)).items()}

    def _of(self, chosen: npt.NDArray[np.bool_]) -> Ranking:
        """The results of some queries."""
        return Ranking(
            self.ap[chosen],
            self.ap_trapezoidal[chosen],
            self.inp[chosen],
            self.first_match_rank[chosen],
            self.query_cameras[chosen],
            self.problem,
        )


@dataclass(frozen=True)
class TopMatches:
    """The best gallery images of each query, for ranked lists.

    Attributes:
        indices: int64 [Q, k] into the gallery, best first; -1 where fewer than k are left.
        similarities: float32 [Q, k], cosine; NaN where there is no image.
        correct: bool [Q, k], whether it shows the query's person.
    """

    indices: Indices
    similarities: npt.NDArray[np.float32]
    correct: npt.NDArray[np.bool_]


def rank(
    query: Features,
    gallery: Features,
    query_persons: Labels,
    gallery_persons: Labels,
    query_cameras: Labels,
    gallery_cameras: Labels,
    *,
    part: tuple[int, int] = (0, 1),
) -> Ranking:
    """Rank the gallery by cosine similarity for each query; ties keep the gallery's order.

    Equal gallery images tie, and so does whatever else is equally similar in float64. Tensors on
    a GPU are ranked there. The result is the same wherever, and however many processes share it.

    Beside the features there are a copy of the gallery's of unit length, where that is not above
    2 GiB, and up to 0.75 GiB of similarities. So 500,000 images of 512 dimensions take 2.9 GB
    with their features. Of 2,048 dimensions they take 4.9 GB, of which the features are 4.1, and
    longer: what is not copied is brought to unit length for every block of queries.

    Args:
        query: features [Q, D]; any length, only their direction counts.
        gallery: features [G, D].
        query_persons: Q person ids, text or whole numbers, compared as text; see `read_labels`.
        gallery_persons: G person ids; -1 is junk.
        query_cameras: Q camera ids.
        gallery_cameras: G camera ids.
        part: (i, n) ranks only the i-th of n parts of the queries, the share of process i; `join`
            makes the whole from the parts.

    Raises:
        ValueError: shapes do not fit together.
        UserError: features are not finite; or no query has a match: says what is wrong with the
            split or the cameras.
    """
    trial = Trial(query_persons, gallery_persons, query_cameras, gallery_cameras)
    with one_thread_each() as threads:
        return _rank(trial, Cosines(query, gallery, trial, threads), part, threads)


def rank_distances(
    distances: Given,
    query_persons: Labels,
    gallery_persons: Labels,
    query_cameras: Labels,
    gallery_cameras: Labels,
) -> Ranking:
    """`rank` by given distances, float32 or float64 [Q, G]; smaller is better, equal ones tie."""
    trial = Trial(query_persons, gallery_persons, query_cameras, gallery_cameras)
    with one_thread_each() as threads:
        return _rank(trial, Distances(distances, trial), (0, 1), threads)


def join(parts: Sequence[Ranking]) -> Ranking:
    """One ranking of all queries from those of its parts, in order."""
    assert len({part.problem for part in parts}) == 1, "parts of different trials"

    return Ranking(
        np.concatenate([part.ap for part in parts]),
        np.concatenate([part.ap_trapezoidal for part in parts]),
        np.concatenate([part.inp for part in parts]),
        np.concatenate([part.first_match_rank for part in parts]),
        np.concatenate([part.query_cameras for part in parts]),
        parts[0].problem,
    )


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
    trial = Trial(query_persons, gallery_persons, query_cameras, gallery_cameras)
    cosines = Cosines(query, gallery, trial)
    indices = np.full((len(trial), k), -1, dtype=np.int64)
    similarities = np.full((len(trial), k), np.nan, dtype=np.float32)
    correct = np.zeros((len(trial), k), dtype=np.bool_)
    for block in _blocks(range(len(trial)), len(trial.kept), cosines.device, threads=1):
        product, (rows, columns) = _block(trial, cosines, block)
        for number, row in enumerate(product):
            allowed = torch.nonzero(row > -torch.inf)[:, 0]
            if len(allowed) > k:
                # All that may tie with the k-th stay in: exact values decide between them.
                last = torch.topk(row, k).values[-1:]
                allowed = torch.nonzero(row >= last - cosines.margin(last))[:, 0]
            value = cosines.exact(block, torch.full_like(allowed, number), allowed)
            order = torch.argsort(value, descending=True, stable=True)[:k]
            best = allowed[order].cpu().numpy()
            place = block.start + number, slice(len(best))
            indices[place] = trial.kept[best]
            similarities[place] = value[order].cpu().numpy()
            correct[place] = np.isin(best, columns[rows == number])
    return TopMatches(indices, similarities, correct)


def _rank(trial: Trial, similarities: Similarities, part: tuple[int, int], threads: int) -> Ranking:
    problem = trial.explain_invalid()
    index, parts = part
    queries = range(len(trial) * index // parts, len(trial) * (index + 1) // parts)

    def work(block: range) -> tuple[Indices, Indices]:
        values, (numbers, columns) = _block(trial, similarities, block)
        rows, places = (torch.from_numpy(x).to(values.device) for x in (numbers, columns))
        exact = partial(similarities.exact, block)
        ranks = count_ranks(values, rows, places, similarities.margin, exact)
        return numbers + (block.start - queries.start), ranks.cpu().numpy()

    threads = _workers(threads, len(trial.kept), similarities.device)
    blocks = _blocks(queries, len(trial.kept), similarities.device, threads)
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(work, blocks))
    numbers, ranks = (np.concatenate(side) for side in zip(*done, strict=True))
    return _metrics(numbers, ranks, trial.query_cameras[queries.start : queries.stop], problem)


def _workers(threads: int, gallery: int, device: torch.device) -> int:
    """How many threads may share the blocks without holding more than `BLOCK_BYTES` together."""
    if device.type != "cpu":
        return 1
    return min(threads, max(1, BLOCK_BYTES // (4 * MIN_ROWS * gallery)))


def _blocks(queries: range, gallery: int, device: torch.device, threads: int) -> list[range]:
    """Consecutive queries that are worked on together; the threads get equally many."""
    rows = max(1, BLOCK_BYTES // (4 * threads * gallery))
    if device.type == "cpu":
        rows = min(rows, MAX_ROWS)
    count = max(1, math.ceil(len(queries) / (rows * threads))) * threads
    edges = [queries.start + len(queries) * i // count for i in range(count + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(edges)]


def _block(
    trial: Trial, similarities: Similarities, block: range
) -> tuple[Tensor, tuple[Indices, Indices]]:
    """The similarities of consecutive queries, -inf where left out, and their matches."""
    values = similarities.block(block)
    matches, left_out = trial.pairs(block)
    rows, columns = (torch.from_numpy(x).to(values.device) for x in left_out)
    values[rows, columns] = -torch.inf
    return values, matches


def _metrics(
    numbers: Indices, ranks: Indices, query_cameras: npt.NDArray[np.str_], problem: str
) -> Ranking:
    """From the ranks of all matches, `numbers` being their queries, ascending."""
    count = len(query_cameras)
    ranks = ranks[np.lexsort((ranks, numbers))]
    matches = np.bincount(numbers, minlength=count)
    valid, last = matches > 0, np.cumsum(matches)
    hits = np.arange(1, len(ranks) + 1) - np.repeat(last - matches, matches)
    precision = hits / ranks
    # Just before rank 1 nothing has been seen yet: precision 1, as in the MATLAB code.
    before = np.where(ranks > 1, (hits - 1) / np.maximum(ranks - 1, 1), 1.0)

    def mean(values: Floats) -> Floats:
        sums = np.bincount(numbers, values, minlength=count)
        return np.where(valid, sums / np.maximum(matches, 1), np.nan)

    inp, first = np.full(count, np.nan), np.full(count, -1, dtype=np.int64)
    inp[valid] = matches[valid] / ranks[last[valid] - 1]
    first[valid] = ranks[(last - matches)[valid]]
    trapezoidal = mean((precision + before) / 2)
    return Ranking(mean(precision), trapezoidal, inp, first, query_cameras, problem)
