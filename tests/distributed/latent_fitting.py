"""Fits latents to a few images; each process writes what it got to FOLDER.

Started by test_fitting_two_processes.py under torchrun. The images do not divide into batches.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lookalike.config import EncoderConfig
from lookalike.inversion.fitting import BATCH, fit_all
from lookalike.inversion.losses import InversionLoss, perceptual_loss
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.generator import Generator
from lookalike.training.session import Session

DESIGN = GeneratorConfig(
    height=32,
    width=16,
    z_dim=8,
    w_dim=8,
    channel_base=256,
    channel_max=16,
    num_layers=4,
    margin=4,
)


def main(folder: Path) -> None:
    """With the other process, if there is one."""
    session = Session(seed=1)
    torch.manual_seed(0)
    generator = Generator(DESIGN).eval().requires_grad_(False)
    config = EncoderConfig(identity=0.0, perceptual_backbone="random")
    average = generator.mapping.w_avg
    loss = InversionLoss(config, average, perceptual_loss("random"), lambda x: x.flatten(1))
    count = 2 * BATCH + 3
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 16, 3), dtype=np.uint8)
    start = average.repeat(count, generator.num_ws, 1)
    fitted = fit_all(generator, loss, images, start, 2, session)
    file = folder / f"process-{session.rank}-of-{session.world}.safetensors"
    save_file({"start": start, "fitted": fitted}, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
