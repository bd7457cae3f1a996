"""Evaluates a tiny re-ID network; each process writes its results to FOLDER.

Started by test_evaluating_two_processes.py under torchrun. Neither side divides into batches.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Evaluation, Side, evaluate
from lookalike.reid.model import ReidArchitecture, ReidNet
from lookalike.training.session import Session

QUERIES, GALLERY, BATCH = 11, 29, 4


def side(seed: int, count: int, camera: int) -> Side:
    """Noise of five persons; every seventh image is junk."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 32, 16, 3), dtype=np.uint8)
    persons = [f"{i % 5:04d}" if i % 7 or camera == 1 else "-1" for i in range(count)]
    return Side(pd.DataFrame({"person_id": persons, "camera_id": camera}), images)


def numbers(result: Evaluation) -> dict[str, torch.Tensor]:
    """All of the result."""
    assert result.reranked is not None
    arrays = {"query": result.query_features, "gallery": result.gallery_features}
    for name, ranking in (("plain", result.ranking), ("reranked", result.reranked)):
        arrays |= {
            f"{name}.ap": ranking.ap,
            f"{name}.inp": ranking.inp,
            f"{name}.first": ranking.first_match_rank,
        }
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def main(folder: Path) -> None:
    """Measure with the other process, and once more alone."""
    session = Session(seed=1)
    torch.manual_seed(0)
    network = ReidNet(ReidArchitecture(5, 32, 16, None, 0.0, 2))
    embedder = Embedder(network.eval(), BATCH)
    query, gallery = side(0, QUERIES, camera=1), side(1, GALLERY, camera=2)
    together = numbers(evaluate(embedder, query, gallery, rerank_too=True, session=session))
    alone = numbers(evaluate(embedder, query, gallery, rerank_too=True))
    save_file(
        {f"together/{k}": v for k, v in together.items()}
        | {f"alone/{k}": v for k, v in alone.items()},
        folder / f"process-{session.rank}-of-{session.world}.safetensors",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
