"""How fast a model answers: PyTorch and ONNX Runtime, one picture at a time and 32 at a time.

Both take the same decoded crops, uint8 at Market-1501's 128x64, and do everything from there:
resize, normalisation, network, unit length. They take turns call by call, with the same number of
threads (OMP_NUM_THREADS, else all cores). p50 and p95 are of whole calls; images/s is batch size
over p50.

    python benchmarks/serving.py            # the networks of two profiles; under 3 minutes
    python benchmarks/serving.py --quick    # a tiny network, seconds
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from lookalike.config import ReidConfig
from lookalike.data.loading import Images
from lookalike.profiles import compose
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid
from lookalike.reid.onnx_export import INPUT, export_onnx

ROOT = Path(__file__).parents[1]
PROFILES = ("embedded", "market1501")
BATCHES = (1, 32)
SECONDS = 12.0  # for both runtimes at a batch size
LEAST = 5  # calls of each, however long they take
MOST = 400


def onnx_embedder(embedder: Embedder) -> tuple[Callable[[Images], object], float]:
    """ONNX Runtime's counterpart on the CPU, and how far it is from PyTorch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        difference = export_onnx(embedder, path, {})
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images}), difference


def measure(
    runs: dict[str, Callable[[Images], object]], images: Images, seconds: float, least: int
) -> dict[str, list[float]]:
    """Seconds per call of each, in turns, after one call each that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(images)
    end = time.perf_counter() + seconds
    calls = 0
    while calls < least or (time.perf_counter() < end and calls < MOST):
        for name, run in runs.items():
            began = time.perf_counter()
            run(images)
            times[name].append(time.perf_counter() - began)
        calls += 1
    return times


def report(name: str, config: ReidConfig, seconds: float, least: int) -> None:
    """Print a line per batch size and runtime."""
    torch.manual_seed(0)
    embedder = Embedder(new_reid(config, 751))
    run, difference = onnx_embedder(embedder)
    runs = {"PyTorch": embedder.embed, "ONNX Runtime": run}
    rng = np.random.default_rng(0)
    for batch in BATCHES:
        images = rng.integers(0, 256, (batch, 128, 64, 3), dtype=np.uint8)
        for runtime, times in measure(runs, images, seconds, least).items():
            p50, p95 = np.percentile(times, (50, 95))
            print(
                f"{f'{name}, {config.height}x{config.width}':<24}{runtime:<14}{batch:>6}"
                f"{1000 * p50:>10.1f}{1000 * p95:>10.1f}{batch / p50:>11.1f}{len(times):>7}"
            )
    print(f"{name}: the embeddings differ by {difference:.1e} at most")


def main() -> None:
    """Print a line per profile, batch size and runtime."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny network, seconds")
    quick = parser.parse_args().quick
    print(f"CPU, {torch.get_num_threads()} threads")
    print(
        f"{'network, input':<24}{'runtime':<14}{'batch':>6}{'p50 ms':>10}{'p95 ms':>10}"
        f"{'images/s':>11}{'calls':>7}"
    )
    for profile in PROFILES[:1] if quick else PROFILES:
        config = compose(profile, ROOT / "profiles").reid
        if quick:
            config = config.model_copy(update={"height": 32, "width": 16})
        report(profile, config, 0.0 if quick else SECONDS, 2 if quick else LEAST)


if __name__ == "__main__":
    main()
