"""What a gallery is ranked by: cosine similarities, or distances that are given.

A block of either is a float32 matrix. Each also says how far its rounding reaches and gives single
similarities that are the same everywhere; `lookalike.reid.counting` says what for.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lookalike.errors import UserError
from lookalike.reid.labels import Indices
from lookalike.reid.model import exact_float32
from lookalike.reid.trial import Trial

DOTS = 4096  # exact similarities computed at once
NORMALISED = 1024  # features brought to unit length at once: what stays in the cache
MOST_THREADS = 8  # for that; each has chunks of its own, and more threads wait for the memory
COPY_BYTES = 2 * 1024**3  # a larger gallery is brought to unit length anew for every block

Features = npt.NDArray[np.float32] | Tensor
Given = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class Similarities(Protocol):
    """What a gallery is ranked by; larger is better."""

    device: torch.device

    def block(self, queries: range) -> Tensor:
        """Float32 [len(queries), G]; the caller's own until its thread calls again."""

    def margin(self, values: Tensor) -> Tensor:
        """How far from each of these float32 numbers another one may be and yet tie with it."""

    def exact(self, queries: range, rows: Tensor, columns: Tensor) -> Tensor:
        """Float64 [P] for rows of a block and gallery positions; the same everywhere."""


class Cosines:
    """Cosine similarities of queries and the gallery without junk, block by block.

    Args:
        query: features [Q, D].
        gallery: features [G, D], junk included.
        trial: says what is junk.
        threads: so many share the work of bringing the gallery to unit length, where it is copied.
    """

    def __init__(self, query: Features, gallery: Features, trial: Trial, threads: int = 1):
        if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
            raise ValueError(
                f"features must be [Q, D] and [G, D], not {tuple(query.shape)} "
                f"and {tuple(gallery.shape)}"
            )
        trial.check(len(query), len(gallery))
        self.query = unit(query, "query")
        self._given, self._kept = gallery, trial.kept
        self.dims, self.device = gallery.shape[1], self.query.device
        self._copy: Tensor | None = None
        if self.device.type != "cpu" or 4 * len(trial.kept) * self.dims <= COPY_BYTES:
            self._copy = unit(gallery, "gallery", trial.kept, threads)
            self.device = self._copy.device
        else:
            for window in self._windows():
                self.rows(window)  # says if they are not finite
        self._buffers = threading.local()

    def _windows(self) -> Iterator[slice]:
        """The gallery in pieces that stay in the cache."""
        for start in range(0, len(self._kept), NORMALISED):
            yield slice(start, min(start + NORMALISED, len(self._kept)))

    def rows(self, where: slice | Tensor) -> Tensor:
        """Some of the gallery's features, of unit length."""
        if self._copy is not None:
            return self._copy[where]
        chosen = self._kept[where if isinstance(where, slice) else where.numpy()]
        return unit(self._given, "gallery", chosen)

    def block(self, queries: range) -> Tensor:
        """The product of a block of queries and the whole gallery."""
        query = self.query[queries.start : queries.stop]
        buffer = getattr(self._buffers, "block", None)
        if buffer is None or len(buffer) < len(query):
            buffer = torch.empty(len(query), len(self._kept), device=self.device)
            self._buffers.block = buffer
        out = buffer[: len(query)]
        if self.device.type == "cpu":
            # OpenBLAS, which NumPy brings, is up to twice as fast as torch's MKL on AMD.
            for window in self._windows() if self._copy is None else [slice(None)]:
                np.matmul(query.numpy(), self.rows(window).numpy().T, out=out[:, window].numpy())
        else:
            assert self._copy is not None
            with exact_float32(self.device):
                torch.matmul(query, self._copy.T, out=out)
        return out

    def margin(self, values: Tensor) -> Tensor:
        """Twice six standard deviations of what rounding makes of the difference of two products.

        D roundings of partial sums that grow to about |s| + 1 / sqrt(D), each of a relative
        half unit in the last place (the probabilistic bound of Higham and Mary 2019). Twice,
        because features that are far from random come near to the six: 2.2e-6 of 2.8e-6 with 513
        dimensions.
        """
        return 4 * 2.0**-24 * (math.sqrt(self.dims) * values.abs() + 1)

    def exact(self, queries: range, rows: Tensor, columns: Tensor) -> Tensor:
        """Products in float64, where those of float32 numbers are exact; one sum per pair."""
        query = self.query[queries.start : queries.stop]
        values = torch.empty(len(rows), dtype=torch.float64, device=self.device)
        for start in range(0, len(rows), DOTS):
            window = slice(start, start + DOTS)
            products = query[rows[window]].double() * self.rows(columns[window])
            values[window] = products.sum(1)
        return values


class Distances:
    """Given distances as similarities; equal numbers tie."""

    device = torch.device("cpu")

    def __init__(self, distances: Given, trial: Trial):
        if distances.dtype not in (np.float32, np.float64):
            raise ValueError(f"distances must be float32 or float64, not {distances.dtype}")
        trial.check(*distances.shape)
        if not np.isfinite(distances.sum(axis=1)).all():
            raise UserError("distances hold NaN or infinity; the model has diverged")
        self._distances, self._kept = distances, trial.kept

    def block(self, queries: range) -> Tensor:
        """The distances to what is not junk, negative."""
        rows = self._distances[queries.start : queries.stop].take(self._kept, axis=1)
        return torch.from_numpy(np.negative(rows, out=rows))

    def margin(self, values: Tensor) -> Tensor:
        """Given numbers are not rounded."""
        return torch.zeros_like(values)

    def exact(self, queries: range, rows: Tensor, columns: Tensor) -> Tensor:
        """The same numbers."""
        values = -self._distances[queries.start + rows.numpy(), self._kept[columns.numpy()]]
        return torch.from_numpy(values.astype(np.float64))


def unit(features: Features, name: str, kept: Indices | None = None, threads: int = 1) -> Tensor:
    """A float32 copy of `features[kept]` with rows of unit length.

    A zero row stays zero and is equally far from everything.

    Raises:
        UserError: features are not finite; `name` says whose.
    """
    device = features.device if isinstance(features, Tensor) else torch.device("cpu")
    count = len(features) if kept is None else len(kept)
    with torch.inference_mode(False):  # other threads may not write to an inference tensor
        out = torch.empty(count, features.shape[1], device=device)

    def fill(start: int) -> None:
        window = slice(start, min(start + NORMALISED, count))
        chosen = np.arange(window.start, window.stop) if kept is None else kept[window]
        chunk = torch.as_tensor(features[chosen]).detach().to(device, torch.float32)
        norms = torch.linalg.vector_norm(chunk, dim=1, keepdim=True, dtype=torch.float64)
        if not bool(torch.isfinite(norms).all()):
            raise UserError(f"{name}: features hold NaN or infinity; the model has diverged")
        norms = norms.clamp(min=torch.finfo(torch.float32).tiny).float()
        torch.div(chunk, norms, out=out[window])

    starts = range(0, count, NORMALISED)
    if threads == 1 or device.type != "cpu":
        for start in starts:
            fill(start)
    else:
        with ThreadPoolExecutor(min(threads, MOST_THREADS)) as pool:
            list(pool.map(fill, starts))
    return out
