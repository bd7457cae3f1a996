"""Trains a re-ID network for three steps; writes each process' weights and features to FOLDER.

Started by test_reid_two_processes.py, alone and under torchrun. Several processes train a second
time, are stopped after the first checkpoint and go on; and they start the complete training again.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lookalike.config import ArmPolicy, ReidConfig, ReidLossConfig, ReidScheduleConfig
from lookalike.data.loading import to_tensor
from lookalike.reid.trainer import train_reid
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Session, Stateful

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
    checkpoint_images=8,
    precision="fp32",
)
# As many variations of the four persons beside them, as classes of their own.
POLICY = ArmPolicy(label="own", weight=0.5, batch_share=0.5, own_statistics=True)


class Stopped(Session):
    """Stops, as if killed, before the second checkpoint."""

    checks = 0

    def check_replicas(self, **parts: Stateful) -> None:
        """See Session."""
        self.checks += 1
        if self.checks == 2:
            raise KeyboardInterrupt
        super().check_replicas(**parts)


def train(session: Session, folder: Path) -> dict[str, torch.Tensor]:
    """The weights, and the features that they give."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 32, 16, 3), dtype=np.uint8)
    model, _ = train_reid(
        CONFIG,
        images,
        ["a", "b", "c", "d"] * 4,
        generated=np.arange(16) >= 8,
        policy=POLICY,
        session=session,
        resume=ResumeState(folder, "train_reid", "test"),
        tracker=NullTracker(),
        initial=None,
        validate=lambda _: {"mAP": 0.0},
    )
    with torch.no_grad():
        features = model.features(to_tensor(images))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return {**state, "features": features}


def main(folder: Path) -> None:
    """Train."""
    session = Session(seed=1)
    results = {"whole": train(session, folder / "whole")}
    if session.world > 1:
        with contextlib.suppress(KeyboardInterrupt):
            train(Stopped(seed=1), folder / "stopped")
        results["resumed"] = train(session, folder / "stopped")
        results["again"] = train(session, folder / "whole")
    tensors = {f"{run}/{k}": v.contiguous() for run, r in results.items() for k, v in r.items()}
    save_file(tensors, folder / f"process-{session.rank}-of-{session.world}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
