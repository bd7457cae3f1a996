"""Trains a re-ID network for three steps and writes each process' weights to FOLDER.

Started by test_reid_two_processes.py, alone and under torchrun.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from lookalike.config import ReidConfig, ReidLossConfig, ReidScheduleConfig
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
    save_file(state, folder / f"process-{session.rank}-of-{session.world}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
