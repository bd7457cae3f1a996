"""Ranks of a few gallery images per query by counting what comes before them; nothing is sorted.

A float32 matrix product rounds. Its last bits depend on the library, the block's shape, the number
of threads and the device, and two equal gallery images may get different numbers. So the product
only decides what it can decide: images that are further from the match than rounding reaches. The
few that are closer are compared again by similarities that do not depend on any of that (`exact`),
and images that are equal there keep the gallery's order. The ranks are those of a stable sort by
the exact similarity, whatever computed the product.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Margin = Callable[[Tensor], Tensor]  # float32 [P] -> float32 [P]
Exact = Callable[[Tensor, Tensor], Tensor]  # (rows, columns), int64 [P] each -> float64 [P]

CHUNK_BYTES = 64 * 1024 * 1024  # of rows copied at once on a GPU
# On a CPU a query's row is compared piece by piece with some of its bounds, so that the outcome
# (one byte each) stays in a core's second-level cache: 32 x 16,320 bytes.
BOUNDS = 16
LANE = 8 * 255  # truth values: the sum of 255 words of eight does not carry from byte to byte
PIECE = 8 * LANE
FEW = 1 / 8  # of a piece above the lowest bound: worth picking out before the comparisons


def count_ranks(
    similarities: Tensor,
    rows: Tensor,
    columns: Tensor,
    margin: Margin,
    exact: Exact,
) -> Tensor:
    """The rank (from 1) of `columns[p]` in row `rows[p]`, for each p: int64 [P].

    Args:
        similarities: float32 [n, G]; -inf takes an image out.
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
    cells = PIECE * BOUNDS if similarities.device.type == "cpu" else CHUNK_BYTES // 4
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
    similarities: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    bounds: npt.NDArray[np.float32],
) -> npt.NDArray[np.int64]:
    """By NumPy, whose loops are the fastest for this; uses one core."""
    counts = np.zeros(bounds.shape, dtype=np.int64)
    starts = np.searchsorted(rows, np.arange(len(similarities) + 1))
    above = np.zeros((2 * BOUNDS, PIECE), dtype=np.bool_)
    words = above.view(np.uint64).reshape(2 * BOUNDS, -1, LANE // 8)
    possible = np.empty(PIECE, dtype=np.bool_)
    for number in range(len(similarities)):
        for start in range(starts[number], starts[number + 1], BOUNDS):
            pairs = slice(start, min(start + BOUNDS, starts[number + 1]))
            limits = bounds[:, pairs].reshape(-1, 1)
            lowest = limits.min()
            for left in range(0, similarities.shape[1], PIECE):
                piece = similarities[number, left : left + PIECE]
                candidates = np.greater(piece, lowest, out=possible[: len(piece)])
                if np.count_nonzero(candidates) < FEW * len(piece):
                    piece = piece[candidates]
                size, lanes = len(limits), -(-len(piece) // LANE)
                np.greater(piece, limits, out=above[:size, : len(piece)])
                above[:size, len(piece) : lanes * LANE] = False
                sums = np.add.reduce(words[:size, :lanes], axis=2).view(np.uint8)
                counts[:, pairs] += np.add.reduce(sums, axis=1, dtype=np.int64).reshape(2, -1)
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
