"""Trains tiny StyleGAN3 networks for five steps; writes each process' weights to FOLDER.

Started by test_gan_two_processes.py, alone and under torchrun. With `broken` as second argument
the second process' discriminator is changed on the way.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lookalike.config import AdaConfig, GanConfig
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.gan import build_gan
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.trainer import train_gan
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Session

CONFIG = GanConfig(
    config="t",
    condition="camera",
    height=16,
    width=8,
    z_dim=8,
    w_dim=8,
    channel_base=64,
    channel_max=8,
    num_layers=4,
    margin=2,
    discriminator_channel_base=64,
    discriminator_channel_max=8,
    discriminator="stylegan",
    projected_weight=0.25,
    start="none",
    freeze_discriminator=0,
    total_images=40,
    batch_size=8,
    micro_batch=4,
    generator_lr=0.0025,
    discriminator_lr=0.002,
    r1_gamma=0.1,
    r1_interval=2,
    ema_half_life=100,
    mirror=True,
    ada=AdaConfig(initial_p=0.5, target=0.6, images=64, max_p=0.8),
    snapshot_images=8,
    distance_samples=4,
    distance_features="reid",
    checkpoint_images=8,
    precision="fp32",
)


def main(folder: Path, broken: bool) -> None:
    """Train in micro-batches of half a batch each; alone with the batch at once."""
    images = np.random.default_rng(0).integers(0, 256, (7, 16, 8, 3), dtype=np.uint8)
    session = Session(seed=1)
    classes, labels = Classes.of("camera", [1, 1, 2, 1, 3, 3, 1])
    config = CONFIG.model_copy(update={"micro_batch": CONFIG.batch_size // session.world})
    # Every process starts with the main one's networks, whatever it has made itself.
    gan = build_gan(config, session.seed + session.rank, classes)

    def measure(generator: Generator, images_seen: int) -> dict[str, float]:
        if broken and session.rank == 1 and images_seen == 16:
            with torch.no_grad():
                gan.discriminator.out.bias += 1e-6
        return {"w": float(generator.mapping.w_avg.sum())}

    train_gan(
        config,
        gan,
        images,
        labels=labels,
        session=session,
        resume=ResumeState(folder / "resume", "train_gan", "test"),
        tracker=NullTracker(),
        snapshot=measure,
    )
    state = {
        f"{part}.{name}": tensor.contiguous()
        for part in ("generator", "discriminator", "average")
        for name, tensor in getattr(gan, part).state_dict().items()
    }
    save_file(state, folder / f"process-{session.rank}-of-{session.world}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["broken"])
