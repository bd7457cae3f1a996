"""A gallery of ten million: the index of `lookalike index` beside exact search, in one run.

    python benchmarks/gallery_index.py people.npz           ten million; 10 minutes of one core
    python benchmarks/gallery_index.py people.npz --quick   20,000, in seconds; for the test

`people.npz` is what `lookalike embed` wrote of pictures whose names begin with the person and `_`,
as Market-1501's do. It is expanded to persons and pictures that were never taken but could have
been. A person is the mean of all, plus the differences of three real persons from it with random
weights; a picture is a person plus the differences of two real pictures from their person, mixed in
the same way, plus noise. So persons and pictures spread into the directions, and as far, as the
model has them spread. The weights' squares add up to 1. Each of the ten million is computed from
its number when it is asked for, so nothing of 20 GB is kept anywhere. Queries are further pictures
of persons that are in the gallery.

Printed are times of OMP_NUM_THREADS threads. *recall@1*: how often the best picture is the one that
exact search finds; *recall@10*: the share of its ten best that are among the ten best; *rank-1*:
how often the best picture shows the query's person. Reading the pictures that are ranked by exact
cosines is not in the times: here they are computed, where a gallery would read 100 rows of a file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lookalike.device import peak_of_process
from lookalike.reid.gallery import Gallery
from lookalike.reid.gallery_index import (
    AT_ONCE,
    FEWEST,
    PROBES,
    RANKED,
    build_index,
    candidates,
    faiss_library,
    ranked,
)

PICTURES = 10  # of each person in the gallery
NOISE = 0.1  # length of it, where an embedding's is 1
TABLE = 1 << 22  # random numbers that noise is taken from
K = 10
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
T = TypeVar("T")


class Expanded:
    """Embeddings of persons who could have been, float32 [count, D], by number."""

    def __init__(self, gallery: Gallery, count: int):
        names = [Path(file).name.partition("_")[0] for file in gallery.files]
        persons, of = np.unique(names, return_inverse=True)
        self.shape = (count, gallery.embeddings.shape[1])
        centroids = np.stack([gallery.embeddings[of == n].mean(0) for n in range(len(persons))])
        self.mean = centroids.mean(axis=0)
        self.persons = centroids - self.mean
        several = np.bincount(of)[of] > 1  # one picture does not differ from itself
        self.pictures = (gallery.embeddings - centroids[of])[several]
        noise = np.random.default_rng(0).standard_normal(TABLE + self.shape[1], dtype=np.float32)
        self.noise = np.lib.stride_tricks.sliding_window_view(noise, self.shape[1])
        self.noise_scale = NOISE / np.sqrt(self.shape[1], dtype=np.float32)

    def __getitem__(self, rows: slice | Numbers) -> Floats:
        """See Rows; numbers from `count` on are pictures that the gallery does not hold."""
        numbers = np.arange(self.shape[0])[rows] if isinstance(rows, slice) else rows
        persons, places = np.unique(person_of(numbers, self.shape[0]), return_inverse=True)
        centres = self.mean + _mixed(self.persons, persons, 3, 1)
        some = centres[places] + _mixed(self.pictures, numbers, 2, 2)
        some += self.noise[_random(numbers, 3) % TABLE] * self.noise_scale
        return some / np.linalg.norm(some, axis=1, keepdims=True)


def person_of(numbers: Numbers, count: int) -> Numbers:
    """The person of each picture; number `count + i` is of one by chance."""
    persons = numbers // PICTURES
    asked = numbers >= count
    persons[asked] = _random(numbers[asked], 4) % (count // PICTURES)
    return persons


def _mixed(vectors: Floats, numbers: Numbers, of: int, salt: int) -> Floats:
    """For each number a sum of so many vectors; the squares of their weights add up to 1."""
    chosen = [_random(numbers, 10 * salt + n) for n in range(2 * of)]
    weights = np.stack([c % 65_536 for c in chosen[of:]]).astype(np.float32) / 32_768 - 1
    weights /= np.linalg.norm(weights, axis=0) + 1e-9
    total = np.zeros((len(numbers), vectors.shape[1]), np.float32)
    for places, weight in zip(chosen[:of], weights, strict=True):
        total += vectors[places % len(vectors)] * weight[:, None]
    return total


def _random(numbers: Numbers, salt: int) -> Numbers:
    """A number below 2^62 for each: SplitMix64 (Steele et al. 2014)."""
    x = numbers.astype(np.uint64) + np.uint64(salt << 48)
    x *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(2)).astype(np.int64)


class Clock:
    """Seconds of what was called through it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work` returns."""
        began = time.perf_counter()
        result = work()
        self.seconds += time.perf_counter() - began
        return result


class Exact:
    """The best `K` rows of each query, of rows that pass by."""

    def __init__(self, queries: Floats):
        self.queries, self.clock, self.seen = queries, Clock(), 0
        self.values = np.full((len(queries), K), -np.inf, np.float32)
        self.indices = np.full((len(queries), K), -1, np.int64)

    def look(self, rows: Floats) -> None:
        """At the next ones."""
        self.clock(lambda: self._look(rows))
        self.seen += len(rows)

    def _look(self, rows: Floats) -> None:
        product = self.queries @ rows.T
        for number in np.flatnonzero((product > self.values[:, -1:]).any(axis=1)):
            better = np.flatnonzero(product[number] > self.values[number, -1])
            values = np.r_[self.values[number], product[number, better]]
            order = np.argsort(-values, kind="stable")[:K]
            self.indices[number] = np.r_[self.indices[number], better + self.seen][order]
            self.values[number] = values[order]


class Watched:
    """Rows that exact search looks at on their way into the index; counts the time of both."""

    def __init__(self, rows: Expanded, exact: Exact):
        self.rows, self.exact, self.shape, self.clock = rows, exact, rows.shape, Clock()

    def __getitem__(self, rows: slice | Numbers) -> Floats:
        some = self.clock(lambda: self.rows[rows])
        if (
            isinstance(rows, slice)
            and rows.start == self.exact.seen
            and rows.stop - rows.start == AT_ONCE
        ):
            self.exact.look(some)
        return some


def main() -> None:
    """Build, search, compare, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    count, asked = (2 * FEWEST, 100) if chosen.quick else (10_000_000, 500)

    rows = Expanded(Gallery.load(chosen.gallery), count)
    numbers = np.arange(count, count + asked)
    queries, persons = rows[numbers], person_of(numbers, count)
    exact = Exact(queries)
    watched, whole = Watched(rows, exact), Clock()
    index = whole(lambda: build_index(watched))
    built = whole.seconds - watched.clock.seconds - exact.clock.seconds
    bytes_each = len(faiss_library().serialize_index(index)) / count

    def recall(found: Numbers, k: int) -> float:
        both = zip(found[:, :k], exact.indices[:, :k], strict=True)
        return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in both]))

    def rank_1(found: Numbers) -> float:
        return float((person_of(found[:, 0], count) == persons).mean())

    print(f"{count:,} of {rows.shape[1]} dimensions, {asked} queries\n")
    print(f"build {built:.0f} s, {bytes_each:.1f} bytes each ({4 * rows.shape[1]} as float32)")
    print(f"peak of memory {peak_of_process() / 2**30:.1f} GB\n")
    print("| search | recall@1 | recall@10 | rank-1 | queries/s |")
    print("|---|---:|---:|---:|---:|")
    speed = asked / exact.clock.seconds
    print(f"| exact | 1.000 | 1.000 | {rank_1(exact.indices):.3f} | {speed:.1f} |")
    for probes in (PROBES // 4, PROBES, PROBES * 4):
        clock = Clock()
        found = clock(lambda p=probes: candidates(index, queries, RANKED, p))
        alone = f"{recall(found, 1):.3f} | {recall(found, K):.3f} | {rank_1(found):.3f}"
        print(f"| {probes} lists, codes alone | {alone} | {asked / clock.seconds:.0f} |")
        kept = np.unique(found[found >= 0])
        table = _Given(kept, rows[kept])
        best, _ = clock(lambda f=found, t=table: ranked(f, t, queries, K))
        both = f"{recall(best, 1):.3f} | {recall(best, K):.3f} | {rank_1(best):.3f}"
        print(f"| {probes} lists, {RANKED} ranked | {both} | {asked / clock.seconds:.0f} |")


class _Given:
    """Some rows, by the numbers that they have among all."""

    def __init__(self, numbers: Numbers, rows: Floats):
        self.numbers, self.rows, self.shape = numbers, rows, rows.shape

    def __getitem__(self, rows: slice | Numbers) -> Floats:
        return self.rows[np.searchsorted(self.numbers, rows)]


if __name__ == "__main__":
    main()
