"""Ranks of a few gallery images per query by counting what comes before them; no gallery is sorted.

A float32 matrix product rounds. Its last bits depend on the library, the block's shape, the number
of threads and the device, and two equal gallery images may get different numbers. So the product
only decides what it can decide: images that are further from the match than rounding reaches. The
few that are closer are compared again by similarities that do not depend on any of that (`exact`),
and images that are equal there keep the gallery's order. The ranks are those of a stable sort by
the exact similarity, whatever computed the product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Margin = Callable[[Tensor], Tensor]  # [P] -> [P], of the similarities' type
Exact = Callable[[Tensor, Tensor], Tensor]  # (rows, columns), int64 [P] each -> float64 [P]

CHUNK_BYTES = 64 * 1024 * 1024  # of rows copied at once on a GPU
# On a CPU a NumPy call covers several rows: before each, threads wait for Python's lock (GIL).
CROWD_BYTES = 4 * 1024 * 1024  # of rows copied at once
GROUP = 16  # rows of which the similarities above the lowest bound are picked out at once
# Comparing is faster than sorting where more than that share of a row is above its lowest bound,
# and it has no more matches than that (of two bounds each).
FEW, MOST = 0.3, 32
# Compared at once: so many rows, so many bounds of each, so many similarities.
LANE = 8 * 255  # truth values: the sum of 255 words of eight does not carry from byte to byte
TOGETHER, BOUNDS, PIECE = 8, 32, 8 * LANE


def count_ranks(
    similarities: Tensor,
    rows: Tensor,
    columns: Tensor,
    margin: Margin,
    exact: Exact,
) -> Tensor:
    """The rank (from 1) of `columns[p]` in row `rows[p]`, for each p: int64 [P].

    Args:
        similarities: float32 or float64 [n, G]; -inf takes an image out.
        rows: int64 [P], ascending.
        columns: int64 [P].
        margin: of a similarity; what differs by more than that from it is surely above or below.
        exact: similarities that decide between those that differ by less.
    """
    own = similarities[rows, columns]
    low = torch.nextafter(own - margin(own), torch.full_like(own, -torch.inf))
    high = own + margin(own)
    above, level = _count(similarities, rows, torch.stack([high, low]))
    ranks: Tensor = above + 1
    length = similarities.shape[1]
    crowded = torch.nonzero(level - above > 1)[:, 0]
    size = CROWD_BYTES if similarities.device.type == "cpu" else CHUNK_BYTES
    for crowd in torch.split(crowded, max(1, size // (4 * length))):
        member, column = _between(similarities, rows[crowd], low[crowd], high[crowd])
        # Each pair of images once, also where it is near to several matches.
        pairs, where = torch.unique(rows[crowd][member] * length + column, return_inverse=True)
        value = exact(pairs // length, pairs % length)[where]
        match = columns[crowd][member]
        # A match is near to itself, so its own value is there.
        reference = torch.empty(len(crowd), dtype=value.dtype, device=value.device)
        itself = column == match
        reference[member[itself]] = value[itself]
        first = (value > reference[member]) | ((value == reference[member]) & (column < match))
        ranks[crowd] += torch.bincount(member[first], minlength=len(crowd))
    return ranks


def _count(similarities: Tensor, rows: Tensor, bounds: Tensor) -> Tensor:
    """How many similarities of row `rows[p]` are above `bounds[:, p]`: int64 [2, P]."""
    if similarities.device.type == "cpu":
        counts = _count_on_cpu(similarities.numpy(), rows.numpy(), bounds.numpy())
        return torch.from_numpy(counts)
    return _count_on_gpu(similarities, rows, bounds)


def _count_on_gpu(similarities: Tensor, rows: Tensor, bounds: Tensor) -> Tensor:
    counted = torch.empty_like(bounds, dtype=torch.int64)
    size = max(1, CHUNK_BYTES // (4 * similarities.shape[1]))
    for start in range(0, len(rows), size):
        chunk = similarities[rows[start : start + size]]
        for bound, out in zip(bounds, counted, strict=True):
            out[start : start + size] = (chunk > bound[start : start + size, None]).sum(1)
    return counted


def _count_on_cpu(
    similarities: Floats,
    rows: npt.NDArray[np.int64],
    bounds: Floats,
) -> npt.NDArray[np.int64]:
    """By NumPy, whose loops are the fastest for this; uses one core.

    In most rows only few similarities are above the lowest bound, where the model is any good.
    Those few are sorted; a row with more of them is compared with each of its bounds.
    """
    counts = np.zeros(bounds.shape, dtype=np.int64)
    starts = np.searchsorted(rows, np.arange(len(similarities) + 1))
    pairs = [slice(*ends) for ends in itertools.pairwise(starts.tolist())]
    lowest = np.full((len(similarities), 1), np.inf, dtype=bounds.dtype)
    having = np.flatnonzero(np.diff(starts))
    if len(having):
        lowest[having, 0] = np.minimum.reduceat(bounds.min(axis=0), starts[having])
    possible = np.empty((GROUP, similarities.shape[1]), dtype=np.bool_)
    tally = _Tally()
    for first in range(0, len(similarities), GROUP):
        group = similarities[first : first + GROUP]
        above = possible[: len(group)]
        np.greater(group, lowest[first : first + GROUP], out=above)
        totals = [int(np.count_nonzero(row)) for row in above]
        many = [
            i
            for i, (total, here) in enumerate(zip(totals, pairs[first:], strict=False))
            if total >= FEW * above.shape[1] and here.stop - here.start <= MOST
        ]
        for start in range(0, len(many), TOGETHER):
            some = many[start : start + TOGETHER]
            tally(group[some], bounds, counts, [pairs[first + i] for i in some])
        above[many] = False
        picked = group.reshape(-1)[np.flatnonzero(above)]
        stop = 0
        for i, total in enumerate(totals):
            if total and i not in many:
                start, stop = stop, stop + total
                values, here = np.sort(picked[start:stop]), pairs[first + i]
                counts[:, here] = total - np.searchsorted(values, bounds[:, here], side="right")
    return counts


class _Tally:
    """Counts how many values of some rows are above the rows' bounds, comparing each with each."""

    def __init__(self) -> None:
        self._above = np.empty(TOGETHER * BOUNDS * PIECE, dtype=np.bool_)

    def __call__(
        self, values: Floats, bounds: Floats, counts: npt.NDArray[np.int64], pairs: list[slice]
    ) -> None:
        """Into `counts[:, pairs[r]]`, those of `values[r]` above `bounds[:, pairs[r]]`."""
        # Rows with fewer bounds are padded; what is counted there is dropped.
        most = max(here.stop - here.start for here in pairs)
        limits = np.full((len(values), 2, most), np.inf, dtype=bounds.dtype)
        for limit, here in zip(limits, pairs, strict=True):
            limit[:, : here.stop - here.start] = bounds[:, here]
        found = self._count(values, limits.reshape(len(values), -1)).reshape(limits.shape)
        for count, here in zip(found, pairs, strict=True):
            counts[:, here] = count[:, : here.stop - here.start]

    def _count(self, values: Floats, limits: Floats) -> npt.NDArray[np.int64]:
        """Int64 [R, B] of values [R, W] and limits [R, B], R being at most `TOGETHER`."""
        counts = np.zeros(limits.shape, dtype=np.int64)
        for left in range(0, values.shape[1], PIECE):
            piece = values[:, None, left : left + PIECE]
            lanes = -(-piece.shape[2] // LANE)
            for first in range(0, limits.shape[1], BOUNDS):
                some = limits[:, first : first + BOUNDS, None]
                shape = (*some.shape[:2], lanes * LANE)
                above = self._above[: math.prod(shape)].reshape(shape)
                np.greater(piece, some, out=above[:, :, : piece.shape[2]])
                above[:, :, piece.shape[2] :] = False
                words = above.view(np.uint64).reshape(*shape[:2], lanes, -1)
                sums = np.add.reduce(words, axis=3).view(np.uint8)
                counts[:, first : first + BOUNDS] += np.add.reduce(sums, axis=2, dtype=np.int64)
        return counts


def _between(
    similarities: Tensor, rows: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Where `low[p] < similarities[rows[p]] <= high[p]`: p and the column, int64 each."""
    if similarities.device.type == "cpu":  # NumPy's loops are several times faster
        part = similarities.numpy()[rows.numpy()]
        inside = (part > low.numpy()[:, None]) & (part <= high.numpy()[:, None])
        flat = torch.from_numpy(np.flatnonzero(inside))
        return flat // part.shape[1], flat % part.shape[1]
    chunk = similarities[rows]
    member, column = torch.nonzero((chunk > low[:, None]) & (chunk <= high[:, None]), as_tuple=True)
    return member, column
