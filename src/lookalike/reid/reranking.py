"""Re-ranking with k-reciprocal neighbours (Zhong et al. 2017), without any N x N matrix.

Two images are close if they have the same k-reciprocal neighbours: those that have each other among
their nearest. An image has few of them, so its neighbours and their weights are a row of a sparse
matrix, and the paper's sets become products of sparse matrices. Only blocks of the N x N distances
are ever there, N being all queries and gallery images together.

Junk must not take part, since it would join the neighbour graph: `rerank` takes the gallery without
it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import sparse

from lookalike.reid.labels import Indices
from lookalike.reid.similarities import Features, unit

BLOCK_BYTES = 64 * 1024 * 1024  # of distances held at once
BLOCK_ROWS = 512
PAIRS = 8192  # single distances computed at once

Floats = npt.NDArray[np.float32]


def rerank(
    query: Features,
    gallery: Features,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> Floats:
    """Distances of queries and gallery images after re-ranking, float32 [Q, G]; smaller is better.

    The original distances, which the k-reciprocal ones are mixed with, are squared Euclidean ones
    of unit vectors, each query's divided by its largest over all N images, and squared: established
    implementations square what they are given, and they are given that.

    Args:
        query: features [Q, D]; only their direction counts.
        gallery: features [G, D], without junk.
        k1: size of a neighbourhood.
        k2: size of the neighbourhood over which neighbourhoods are averaged; 1 does not average.
        lambda_value: weight of the original distance.

    Raises:
        UserError: features are not finite.
        ValueError: k1 or k2 is below 1.
    """
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 ({k1}) and k2 ({k2}) are numbers of neighbours, at least 1")
    features = np.concatenate(
        [unit(query, "query").cpu().numpy(), unit(gallery, "gallery").cpu().numpy()]
    )
    queries, count = len(query), len(features)
    nearest, largest = _nearest(features, min(max(k1 + 1, k2), count))
    reciprocal = _reciprocal(nearest[:, : k1 + 1])
    half = _reciprocal(nearest[:, : round(k1 / 2) + 1])
    # Eq. 4: a neighbour's own (half as many) reciprocal neighbours join where more than two thirds
    # of them are neighbours already.
    shared = (reciprocal @ half.T).multiply(reciprocal).tocoo()
    sizes = np.diff(half.indptr)
    enough = shared.data > 2 / 3 * sizes[shared.col]
    joining = sparse.csr_array(
        (shared.data[enough], (shared.row[enough], shared.col[enough])), shape=shared.shape
    )
    members = (reciprocal + joining @ half).tocsr()
    members.sort_indices()
    weights = _weights(members, features, largest)
    if k2 > 1:
        # Eq. 11: local query expansion.
        weights = (_indicator(nearest[:, :k2]) / min(k2, count)) @ weights
        weights = weights.astype(np.float32).tocsr()
    result = np.empty((queries, count - queries), dtype=np.float32)
    theirs = weights[queries:].tocsc()
    for rows, distances in _blocks(features, range(queries)):
        relative = distances[:, queries:] / largest[rows.start : rows.stop, None]
        np.multiply(relative * relative, lambda_value, out=result[rows.start : rows.stop])
    for row in range(queries):
        result[row] += (1 - lambda_value) * _jaccard(weights, row, theirs)
    return result


def _blocks(features: Floats, rows: range) -> Iterator[tuple[range, Floats]]:
    """Squared Euclidean distances of consecutive rows to all, at least 0."""
    size = max(1, min(BLOCK_ROWS, BLOCK_BYTES // (4 * len(features))))
    out = np.empty((min(size, len(rows)), len(features)), dtype=np.float32)
    for start in range(rows.start, rows.stop, size):
        block = range(start, min(start + size, rows.stop))
        distances = np.matmul(features[block.start : block.stop], features.T, out=out[: len(block)])
        distances *= -2
        distances += 2
        yield block, np.maximum(distances, 0, out=distances)


def _nearest(features: Floats, k: int) -> tuple[Indices, Floats]:
    """Each image's `k` nearest, itself among them, nearest first: int64 [N, k]; and its largest
    distance, float32 [N]. Ties keep the order of the images."""
    count = len(features)
    nearest = np.empty((count, k), dtype=np.int64)
    largest = np.empty(count, dtype=np.float32)
    groups = max(1, count // (8 * k))
    for rows, distances in _blocks(features, range(count)):
        largest[rows.start : rows.stop] = distances.max(axis=1)
        # The k-th smallest of the minima of groups is nowhere below the k-th smallest of all.
        whole = distances[:, : count // groups * groups].reshape(len(rows), -1, groups)
        bound = np.partition(whole.min(axis=2), k - 1, axis=1)[:, k - 1]
        row, column = _true(distances <= bound[:, None])
        order = np.lexsort((column, distances[row, column], row))
        starts = np.searchsorted(row, np.arange(len(rows)))
        nearest[rows.start : rows.stop] = column[order][starts[:, None] + np.arange(k)]
    # Where all images are equal, no distance is more than 0.
    return nearest, np.maximum(largest, np.finfo(np.float32).tiny)


def _true(mask: npt.NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Rows and columns of what is true; where that is little, many times faster than nonzero."""
    flat = np.flatnonzero(mask)
    return np.divmod(flat, mask.shape[1])


def _indicator(nearest: Indices) -> sparse.csr_array:
    """1 where column j is among row i's nearest: float32 [N, N]."""
    count, k = nearest.shape
    ones = np.ones(nearest.size, dtype=np.float32)
    return sparse.csr_array((ones, nearest.ravel(), np.arange(count + 1) * k), shape=(count, count))


def _reciprocal(nearest: Indices) -> sparse.csr_array:
    """1 where two images are among each other's nearest (eq. 2)."""
    indicator = _indicator(nearest)
    return indicator.multiply(indicator.T).tocsr()


def _weights(members: sparse.csr_array, features: Floats, largest: Floats) -> sparse.csr_array:
    """How near each member of a row's neighbourhood is (eq. 7); rows sum to 1.

    The distance in the exponent is the one that `rerank` describes.
    """
    rows = np.repeat(np.arange(len(features)), np.diff(members.indptr))
    columns = members.indices
    distances = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), PAIRS):
        window = slice(start, start + PAIRS)
        pairs = features[rows[window]], features[columns[window]]
        distances[window] = np.maximum(2 - 2 * np.einsum("ij,ij->i", *pairs), 0)
    values = np.exp(-((distances / largest[rows]) ** 2))
    values /= np.bincount(rows, values, minlength=len(features))[rows].astype(np.float32)
    return sparse.csr_array((values, columns, members.indptr), shape=members.shape)


def _jaccard(weights: sparse.csr_array, row: int, others: sparse.csc_array) -> Floats:
    """Distance of one image's neighbourhood to each of `others`' (eq. 10): float32 [G], in [0, 1].

    The sum of minima needs the columns of `others` that are not 0 for the image; the sum of maxima
    is 2 minus that, since all rows sum to 1.
    """
    own = slice(weights.indptr[row], weights.indptr[row + 1])
    columns, values = weights.indices[own], weights.data[own]
    starts, lengths = others.indptr[columns], np.diff(others.indptr)[columns]
    offsets = starts - (np.cumsum(lengths) - lengths)
    entries = np.arange(lengths.sum()) + np.repeat(offsets, lengths)
    minima = np.minimum(others.data[entries], np.repeat(values, lengths))
    shared = np.bincount(others.indices[entries], minima, minlength=others.shape[0])
    return np.asarray(1 - shared / (2 - shared), dtype=np.float32)
