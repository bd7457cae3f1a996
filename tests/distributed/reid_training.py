"""Trains a re-ID network for three steps and writes each process' weights to FOLDER.

An untrained one, the same in every process, is evaluated too: its results are among the weights.

Started by test_reid_two_processes.py, alone and under torchrun.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from lookalike.config import ReidConfig, ReidLossConfig, ReidScheduleConfig
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate
from lookalike.reid.model import new_reid
from lookalike.reid.trainer import train_reid
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Session

CONFIG = ReidConfig(
    height=32,
    width=16,
    weights="none",
    embedding_dim=None,
    bnneck=True,
    dropout=0.5,
    last_stride=2,
    pooling="gem",
    ibn=True,
    loss=ReidLossConfig(label_smoothing=0.1, triplet=0.3, centre=5e-4, circle=0.1),
    epochs=3,
    batch_size=8,
    micro_batch=4,
    images_per_person=2,
    erasing=0.5,
    optimizer="adamw",
    learning_rate=1e-4,
    weight_decay=1e-4,
    schedule=ReidScheduleConfig(warm_up=0.2, decay="cosine", freeze=0),
    checkpoint_images=1000,
    precision="no",
)


def evaluation(session: Session) -> dict[str, torch.Tensor]:
    """Results per query, plain and re-ranked; no number of images divides by two."""
    torch.manual_seed(0)
    embedder = Embedder(new_reid(CONFIG, 4), batch_size=4)
    images = np.random.default_rng(1).integers(0, 256, (28, 32, 16, 3), dtype=np.uint8)
    persons = [str(number % 5 - 1) for number in range(28)]
    rows = pd.DataFrame({"person_id": persons, "camera_id": [n // 5 % 3 for n in range(28)]})
    asked = rows["person_id"] != "-1"
    query = Side(rows[asked].iloc[:5], images[asked][:5])
    found = evaluate(embedder, query, Side(rows, images), rerank_too=True, session=session)
    assert found.reranked is not None
    return {
        f"evaluation.{way}.{name}": torch.from_numpy(getattr(result, name))
        for way, result in (("plain", found.ranking), ("reranked", found.reranked))
        for name in ("ap", "ap_trapezoidal", "inp", "first_match_rank")
    }


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 32, 16, 3), dtype=np.uint8)
    session = Session(seed=1)
    model, _ = train_reid(
        CONFIG,
        images,
        ["a", "b", "c", "d"] * 2,
        session=session,
        resume=ResumeState(folder / "resume", "train_reid", "test"),
        tracker=NullTracker(),
        initial=None,
        validate=lambda _: {"mAP": 0.0},
    )
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    state |= evaluation(session)
    save_file(state, folder / f"process-{session.rank}-of-{session.world}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
