"""Measures 9 generated images against 13 real ones; writes each process' result to FOLDER.

Started by test_comparing_two_processes.py under torchrun. Neither number divides by two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lookalike.data.loading import Images
from lookalike.metrics.comparison import Comparison, share
from lookalike.metrics.features import FloatMatrix
from lookalike.training.session import Session

REAL, FAKE = 13, 9


class MeanColour:
    """Three features; counts the images that this process looked at."""

    name, kernel_name, dim, digest = "frechet_colour", "kernel_colour", 3, "1"
    seen = 0

    def __call__(self, images: Images) -> FloatMatrix:
        """See FeatureExtractor."""
        self.seen += len(images)
        return images.mean(axis=(1, 2)).astype(np.float32)


def pictures(seed: int, count: int) -> Images:
    """Noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 2, 3), dtype=np.uint8)


def main(folder: Path) -> None:
    """Measure twice: without a cache, and with what the first time left."""
    session, result = Session(seed=1), dict[str, torch.Tensor]()
    for turn in ("fresh", "cached"):
        extract = MeanColour()
        compare = Comparison(pictures(0, REAL), extract, session, folder / "cache")
        measured = compare(pictures(1, FAKE)[share(FAKE, session)], FAKE)
        result[f"{turn}.seen"] = torch.tensor(extract.seen)
        for name, value in measured.items():
            result[f"{turn}.{name}"] = torch.tensor(value, dtype=torch.float64)
        session.wait()
    save_file(result, folder / f"process-{session.rank}-of-{session.world}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
