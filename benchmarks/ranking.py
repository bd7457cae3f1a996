"""Ranking and re-ranking beside what they replace, in one run: seconds, memory, ratios last.

    python benchmarks/ranking.py            under 10 minutes on two cores; 10 GB for the dense one
    python benchmarks/ranking.py --quick    seconds, for the test; its ratios mean nothing

Market-1501's numbers of images and persons, 512 dimensions. *trained* features have a mAP of about
85 %, *untrained* ones are noise (the worst case: a match may be anywhere in the list). Every part
of the full run has a process of its own, and ranking is the first thing that it does: the peak of
memory is that of the features and of ranking them. Both sides of a comparison must agree, or the
benchmark fails. OMP_NUM_THREADS says how many threads work.

What is aimed at, and printed as met or missed beside each ratio (noise misses it):

- ranking takes at most 1.5 times as long as the product of all features alone;
- the *classic* NumPy way takes at least 20 times as long as ranking: the product, then for each
  query an argsort of the whole gallery, boolean masks for what does not count, and AP from their
  cumulative sum, divided by the ranks in a Python loop, as in open frameworks. With that division
  vectorised it takes a few times as long as ranking. That is printed too, without an
  aim, because the product, which any exact way needs, is more than a twentieth of it;
- 500,000 gallery images of 512 dimensions are ranked in 4 GB, features included;
- dense re-ranking takes at least 5 times as long as the sparse one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

from lookalike.device import peak_of_process
from lookalike.reid.ranking import rank
from lookalike.reid.reranking import rerank

PARTS = ("trained", "untrained", "huge", "sparse", "dense")
DENSE_GB = 10  # of memory, at the full size
AGREE = 1e-4  # two ways may differ by so much: of an AP, or of a distance after re-ranking
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sizes:
    """Numbers of images, persons and dimensions, and how often the short runs are repeated."""

    queries: int = 3368
    gallery: int = 15913
    distractors: int = 2798
    persons: int = 750
    huge: int = 500_000
    dims: int = 512
    classic: int = 200  # queries that the classic way is measured on
    repeats: int = 12


FULL = Sizes()
QUICK = Sizes(60, 600, 100, 30, 2000, 32, 20, 2)


class Data:
    """Features around a centre per person, some images much clearer than others."""

    def __init__(self, sizes: Sizes, gallery: int, trained: bool):
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((sizes.persons, sizes.dims), dtype=np.float32)
        distractors = gallery * sizes.distractors // sizes.gallery
        # A huge gallery is Market-1501's with more distractors.
        shown = sizes.gallery - sizes.distractors if gallery > sizes.gallery else None
        shown = shown or gallery - distractors
        self.gallery_persons = np.r_[
            rng.integers(0, sizes.persons, shown), -2 - np.arange(gallery - shown)
        ]
        self.query_persons = rng.integers(0, sizes.persons, sizes.queries)
        self.gallery_cameras = rng.integers(0, 6, gallery)
        self.query_cameras = rng.integers(0, 6, sizes.queries)

        def features(persons: npt.NDArray[np.int64]) -> Floats:
            out = np.empty((len(persons), sizes.dims), dtype=np.float32)
            for start in range(0, len(persons), 4096):
                some = persons[start : start + 4096]
                noise = rng.standard_normal((len(some), sizes.dims), dtype=np.float32)
                if trained:
                    noise *= 1.8 * rng.lognormal(0, 0.35, (len(some), 1)).astype(np.float32)
                    noise += np.where((some >= 0)[:, None], centres[np.maximum(some, 0)], 0)
                noise /= np.linalg.norm(noise, axis=1, keepdims=True)
                out[start : start + 4096] = noise
            return out

        self.query, self.gallery = features(self.query_persons), features(self.gallery_persons)

    @property
    def labels(self) -> tuple[npt.NDArray[np.int64], ...]:
        """Persons and cameras, in the order of `rank`."""
        return (
            self.query_persons,
            self.gallery_persons,
            self.query_cameras,
            self.gallery_cameras,
        )


def best(run: Callable[[], object], repeats: int) -> float:
    """The shortest of some runs, seconds."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def classic_ap(data: Data, queries: int, python_precision: bool) -> npt.NDArray[np.float64]:
    """APs of the first queries by argsort and boolean masks, NaN where there is no match.

    Args:
        python_precision: divide hits by ranks in a Python loop, as established frameworks do.
    """
    distances = 1 - data.query[:queries] @ data.gallery.T
    found = np.full(queries, np.nan)
    for number in range(queries):
        order = np.argsort(distances[number])
        same = data.gallery_persons[order] == data.query_persons[number]
        seen = same & (data.gallery_cameras[order] == data.query_cameras[number])
        hits = same[~seen].astype(np.int32)
        if hits.any():
            count = hits.cumsum()
            if python_precision:
                precision = np.array([c / (place + 1.0) for place, c in enumerate(count)])
            else:
                precision = count / np.arange(1, len(count) + 1)
            found[number] = (precision * hits).sum() / hits.sum()
    return found


def dense_rerank(features: Floats, queries: int, k1: int = 20, k2: int = 6) -> Floats:
    """k-reciprocal re-ranking with N x N matrices, a query at a time (Zhong et al. 2017)."""
    count = len(features)
    original = np.empty((count, count), dtype=np.float32)
    for start in range(0, count, 512):  # rounded as there: which of two is nearer may hang on it
        np.matmul(features[start : start + 512], features.T, out=original[start : start + 512])
    original *= -2
    original += 2
    np.maximum(original, 0, out=original)
    order = np.empty((count, count), dtype=np.int32)
    for row in range(count):
        order[row] = np.argsort(original[row], kind="stable")
    original /= original.max(axis=1, keepdims=True)
    original *= original
    weights = np.zeros((count, count), dtype=np.float32)

    def reciprocal(row: int, k: int) -> npt.NDArray[np.int32]:
        forward = order[row, : k + 1]
        return forward[(order[forward, : k + 1] == row).any(axis=1)]

    for row in range(count):
        near = reciprocal(row, k1)
        members = near
        for candidate in near:
            theirs = reciprocal(candidate, round(k1 / 2))
            if len(np.intersect1d(theirs, near)) > 2 / 3 * len(theirs):
                members = np.append(members, theirs)
        members = np.unique(members)
        weight = np.exp(-original[row, members])
        weights[row, members] = weight / weight.sum()
    expanded = np.empty_like(weights)
    for row in range(count):
        expanded[row] = weights[order[row, :k2]].mean(axis=0)
    del weights
    having = [np.flatnonzero(expanded[:, column]) for column in range(count)]
    result = np.empty((queries, count - queries), dtype=np.float32)
    for row in range(queries):
        shared = np.zeros(count, dtype=np.float32)
        for column in np.flatnonzero(expanded[row]):
            rows = having[column]
            shared[rows] += np.minimum(expanded[row, column], expanded[rows, column])
        jaccard = 1 - shared / (2 - shared)
        result[row] = (0.7 * jaccard + 0.3 * original[row])[queries:]
    return result


def measure(part: str, sizes: Sizes, folder: Path) -> dict[str, float]:
    """Seconds of one part's ways, by name; its other numbers. Matrices go to `folder`."""
    found: dict[str, float] = {}
    if part in ("trained", "untrained", "huge"):
        gallery = sizes.huge if part == "huge" else sizes.gallery
        repeats = 1 if part == "huge" else sizes.repeats
        data = Data(sizes, gallery, part != "untrained")
        ours: list[float] = []
        product: list[float] = []
        for _ in range(repeats):  # in turns, so that other work on the machine hits both
            ours.append(best(lambda: rank(data.query, data.gallery, *data.labels), 1))
            found.setdefault("peak_ours_gb", peak_gb())
            product.append(best(lambda: blocked_product(data, part == "huge"), 1))
        found["product"], found["ours"] = min(product), min(ours)
        ranking = rank(data.query[:500], data.gallery, *half(data, 500))
        found["mAP"] = ranking.summary()["mAP"]
        if part == "trained":
            scale = sizes.queries / sizes.classic
            for name, loop in (("classic", True), ("vectorised", False)):
                found[name] = scale * best(
                    lambda loop=loop: classic_ap(data, sizes.classic, loop), 2
                )
            classic = classic_ap(data, sizes.classic, False)
            ours_ap = ranking.ap[: sizes.classic]
            assert np.array_equal(np.isnan(classic), np.isnan(ours_ap)), "other valid queries"
            found["ap_difference"] = float(np.nanmax(np.abs(classic - ours_ap)))
    else:
        data = Data(sizes, sizes.gallery, trained=True)
        if part == "dense":
            both = np.concatenate([data.query, data.gallery])
            run = partial(dense_rerank, both, len(data.query))
        else:
            run = partial(rerank, data.query, data.gallery)
        began = time.perf_counter()
        distances = run()
        found["seconds"] = time.perf_counter() - began
        found["peak_ours_gb"] = peak_gb()
        np.save(folder / part, distances)
        found["images"] = float(sizes.queries + sizes.gallery)
    return found


def half(data: Data, queries: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Labels of the first queries."""
    persons, gallery_persons, cameras, gallery_cameras = data.labels
    return persons[:queries], gallery_persons, cameras[:queries], gallery_cameras


def blocked_product(data: Data, blocked: bool) -> None:
    """All similarities: at once, or in blocks where they would fill the memory."""
    size = 256 if blocked else len(data.query)
    out = np.empty((size, len(data.gallery)), dtype=np.float32) if blocked else None
    for start in range(0, len(data.query), size):
        some = data.query[start : start + size]
        np.matmul(some, data.gallery.T, out=None if out is None else out[: len(some)])


def peak_gb() -> float:
    """The largest memory of this process so far."""
    return peak_of_process() / 2**30


def main() -> None:
    """Run every part in a process of its own and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes; takes seconds")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    if arguments.part:
        print(json.dumps(measure(arguments.part, sizes, arguments.folder)))
        return

    free = psutil.virtual_memory().available / 1024**3
    if free < DENSE_GB and not arguments.quick:
        sys.exit(f"the dense re-ranking needs {DENSE_GB} GB of memory, {free:.0f} are free")
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for part in PARTS:
            if arguments.quick:
                found[part] = measure(part, sizes, folder)
                continue
            command = [sys.executable, __file__, "--part", part, "--folder", scratch]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found[part] = json.loads(done.stdout)
        sparse, dense = (np.load(folder / f"{part}.npy") for part in ("sparse", "dense"))
    differences = {
        "AP, argsort and masks against ranked": found["trained"]["ap_difference"],
        "distance, dense against sparse re-ranking": float(np.abs(sparse - dense).max()),
    }
    report(found, differences, sizes)
    if not all(difference <= AGREE for difference in differences.values()):
        sys.exit(f"two ways differ by more than {AGREE:g}")


def report(found: dict[str, dict[str, float]], differences: dict[str, float], sizes: Sizes) -> None:
    """Print seconds, memory, differences and ratios."""
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    queries, gallery = f"{sizes.queries:,}", f"{sizes.gallery:,}"
    quick = "; too small to say anything" if sizes == QUICK else ""
    print(f"{queries} queries, {sizes.dims} dimensions, {threads} threads{quick}")
    print(f"\n{'what':<66}{'seconds':>9}{'peak GB':>9}")
    trained, untrained, huge = (found[part] for part in PARTS[:3])
    sparse, dense = found["sparse"], found["dense"]
    size = f"{int(sparse['images']):,} images"
    on = f"on {sizes.classic} queries, scaled"
    rows = [
        (f"{gallery} images: product alone", trained["product"], None),
        (f"  ranked, trained (mAP {trained['mAP']:.0%})", trained["ours"], trained["peak_ours_gb"]),
        (f"  ranked, untrained (mAP {untrained['mAP']:.1%})", untrained["ours"], None),
        (f"  argsort, masks, precisions in a loop, {on}", trained["classic"], None),
        (f"  the same, precisions vectorised, {on}", trained["vectorised"], None),
        (f"{sizes.huge:,} images: product alone, in blocks", huge["product"], None),
        ("  ranked, trained", huge["ours"], huge["peak_ours_gb"]),
        (f"re-ranking, {size}: sparse", sparse["seconds"], sparse["peak_ours_gb"]),
        (f"re-ranking, {size}: dense", dense["seconds"], dense["peak_ours_gb"]),
    ]
    for name, seconds, peak in rows:
        print(f"{name:<66}{seconds:>9.3f}{'' if peak is None else f'{peak:.2f}':>9}")
    print("\nlargest difference")
    for name, difference in differences.items():
        print(f"{name:<66}{difference:>9.1e}")
    counting = max(trained["ours"] - trained["product"], 1e-9)
    ratios: list[tuple[str, float, str]] = [
        ("ranked / product alone, trained", trained["ours"] / trained["product"], "<= 1.5"),
        ("ranked / product alone, untrained", untrained["ours"] / untrained["product"], "<= 1.5"),
        ("ranked / product alone, huge gallery", huge["ours"] / huge["product"], "<= 1.5"),
        ("peak memory of the huge gallery, GB", huge["peak_ours_gb"], "<= 4"),
        ("classic / ranked", trained["classic"] / trained["ours"], ">= 20"),
        ("  the same, vectorised / ranked", trained["vectorised"] / trained["ours"], ""),
        (
            "  vectorised / ranked, without the product",
            (trained["vectorised"] - trained["product"]) / counting,
            "",
        ),
        ("dense / sparse re-ranking", dense["seconds"] / sparse["seconds"], ">= 5"),
    ]
    print(f"\n{'ratio':<56}{'times':>9}{'bound':>9}")
    for name, ratio, bound in ratios:
        print(f"{name:<56}{ratio:>9.2f}{bound:>9}{verdict(ratio, bound):>9}".rstrip())


def verdict(value: float, bound: str) -> str:
    """Whether a bound such as "<= 4" is met; nothing where there is none."""
    if not bound:
        return ""
    sign, limit = bound.split()
    return "met" if (value <= float(limit) if sign == "<=" else value >= float(limit)) else "missed"


if __name__ == "__main__":
    main()
