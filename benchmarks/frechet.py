"""The trace of the matrix root in a Fréchet distance: a general square root against ours.

Both get the same two covariances and must agree. CPU seconds over all threads are compared, which
a busy machine does not falsify. Ours uses the factor of the real covariance, which is computed once
per data set.

    OMP_NUM_THREADS=1 python benchmarks/frechet.py    # D = 2048, as for FID: under three minutes
    python benchmarks/frechet.py --dim 512            # seconds; the ratio grows with D
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from scipy import linalg

from lookalike.metrics.distances import FrechetReference

T = TypeVar("T")


def features(seed: int, count: int, dim: int) -> np.ndarray:
    """Correlated, with variances that fall off as those of a network's features do."""
    rng = np.random.default_rng(seed)
    scales = np.arange(1, dim + 1) ** -0.5
    mixing = np.random.default_rng(0).normal(size=(dim, dim)) / np.sqrt(dim)
    return (rng.normal(size=(count, dim)) * scales) @ mixing


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it returns, and the CPU seconds that it took."""
    began = time.process_time()
    return work(), time.process_time() - began


def main() -> None:
    """Measure, print the table, fail where the two disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dim", type=int, default=2048, help="D, at least 2")
    dim = max(2, parser.parse_args().dim)

    real, fake = features(1, dim + 500, dim), features(2, dim + 500, dim)
    reference, once = timed(lambda: FrechetReference.of(real))
    real_covariance, fake_covariance = (np.cov(side, rowvar=False) for side in (real, fake))
    ours, our_seconds = timed(lambda: reference.root_trace(fake_covariance, dim))
    general, general_seconds = timed(
        lambda: float(np.trace(linalg.sqrtm(real_covariance @ fake_covariance)).real)
    )

    print(f"D = {dim}                   CPU seconds   trace of the root")
    print(f"scipy.linalg.sqrtm     {general_seconds:13.2f}   {general:.10f}")
    print(f"eigvalsh of F' C F     {our_seconds:13.2f}   {ours:.10f}")
    print(f"the factor F, once     {once:13.2f}")
    print(f"relative difference    {abs(ours - general) / general:13.1e}")
    if abs(ours - general) > 1e-6 * general:
        raise SystemExit("the two disagree")
    print(f"{general_seconds / our_seconds:.1f}x")


if __name__ == "__main__":
    main()
