"""Ranks of a few gallery images per query by counting what comes before them; nothing is sorted.

A float32 matrix product rounds. Its last bits depend on the library, the block's shape, the number
of threads and the device, and two equal gallery images may get different numbers. So the product
only decides what it can decide: images that are further from the match than rounding reaches. The
few that are closer are compared again by similarities that do not depend on any of that (`exact`),
and images that are equal there keep the gallery's order. The ranks are those of a stable sort by
the exact similarity, whatever computed the product.
"""

from __future__ import annotations

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
# On a CPU the outcome of a comparison, a byte per similarity and bound, stays in a core's
# second-level cache: so many bounds at once, with so many similarities.
BOUNDS = 32
LANE = 8 * 255  # truth values: the sum of 255 words of eight does not carry from byte to byte
PIECE = 8 * LANE
FEW = 0.3  # of a row above its lowest bound: picking them out is faster than comparing all
# Rows of which no more than that is left are compared together, so many at once.
NARROW, TOGETHER = LANE, 8


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
    cells = PIECE * 16 if similarities.device.type == "cpu" else CHUNK_BYTES // 4
    for crowd in torch.split(crowded, max(1, cells // length)):
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
    Those are picked out and compared for several rows at once, because each of NumPy's calls costs
    more than comparing them.
    """
    counts = np.zeros(bounds.shape, dtype=np.int64)
    starts = np.searchsorted(rows, np.arange(len(similarities) + 1))
    tally = _Tally()
    picked: list[tuple[slice, Floats]] = []
    possible = np.empty(similarities.shape[1], dtype=np.bool_)
    for number, row in enumerate(similarities):
        pairs = slice(starts[number], starts[number + 1])
        if pairs.start == pairs.stop:
            continue
        np.greater(row, bounds[:, pairs].min(), out=possible)
        above = np.count_nonzero(possible)
        some = row[possible] if above < FEW * len(row) else row
        if len(some) <= NARROW:
            picked.append((pairs, some))
        else:
            limits = bounds[:, pairs].reshape(1, -1)
            counts[:, pairs] = tally(some[None], limits).reshape(2, -1)
    picked.sort(key=lambda some: len(some[1]))  # equally many together: little padding
    for first in range(0, len(picked), TOGETHER):
        _count_picked(picked[first : first + TOGETHER], bounds, counts, tally)
    return counts


def _count_picked(
    picked: list[tuple[slice, Floats]],
    bounds: Floats,
    counts: npt.NDArray[np.int64],
    tally: _Tally,
) -> None:
    """Count for some rows, each given by its pairs and its similarities; both are padded."""
    width = max(len(values) for _, values in picked)
    most = max(pairs.stop - pairs.start for pairs, _ in picked)
    # Of the caller's type: given distances may be float64, and rounding would rank others.
    values = np.full((len(picked), width), -np.inf, dtype=bounds.dtype)
    limits = np.full((len(picked), 2, most), np.inf, dtype=bounds.dtype)
    for number, (pairs, some) in enumerate(picked):
        values[number, : len(some)] = some
        limits[number, :, : pairs.stop - pairs.start] = bounds[:, pairs]
    found = tally(values, limits.reshape(len(picked), -1)).reshape(len(picked), 2, most)
    for (pairs, _), count in zip(picked, found, strict=True):
        counts[:, pairs] = count[:, : pairs.stop - pairs.start]


class _Tally:
    """Counts, for some rows at once, how many values of a row are above each of its limits."""

    def __init__(self) -> None:
        self._above = np.zeros(BOUNDS * PIECE, dtype=np.bool_)

    def __call__(self, values: Floats, limits: Floats) -> npt.NDArray[np.int64]:
        """Int64 [R, B] of values [R, W] and limits [R, B], R being 1 or W at most `NARROW`."""
        counts = np.zeros(limits.shape, dtype=np.int64)
        width = min(values.shape[1], PIECE)
        lanes = -(-width // LANE)
        padded = lanes * LANE if lanes > 1 else -(-width // 8) * 8
        if not padded:
            return counts
        bounds = max(1, len(self._above) // (len(values) * padded))
        for first in range(0, limits.shape[1], bounds):
            some = limits[:, first : first + bounds]
            shape = (len(values), some.shape[1], padded)
            above = self._above[: math.prod(shape)].reshape(shape)
            words = above.view(np.uint64).reshape(*shape[:2], lanes, -1)
            for left in range(0, values.shape[1], PIECE):
                piece = values[:, left : left + PIECE]
                np.greater(piece[:, None], some[:, :, None], out=above[:, :, : piece.shape[1]])
                above[:, :, piece.shape[1] :] = False
                sums = np.add.reduce(words, axis=3).view(np.uint8)
                counts[:, first : first + bounds] += np.add.reduce(sums, axis=2, dtype=np.int64)
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
