"""The smallest networks on a 16x8 canvas, and a checkpoint of them."""

from __future__ import annotations

from pathlib import Path

import torch

from lookalike.stylegan3.checkpoint import DiscriminatorConfig, save_gan
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator

TINY = GeneratorConfig(
    16, 8, z_dim=8, w_dim=8, channel_base=64, channel_max=8, num_layers=4, margin=2
)


def networks(
    seed: int, config: GeneratorConfig = TINY, channels: int = 8
) -> tuple[Generator, Discriminator]:
    torch.manual_seed(seed)
    discriminator = Discriminator(
        config.height, config.width, channel_base=64, channel_max=channels
    )
    return Generator(config), discriminator


def save(path: Path, dtype: torch.dtype = torch.float32) -> tuple[Generator, Discriminator]:
    generator, discriminator = networks(0)
    save_gan(path, generator, discriminator, DiscriminatorConfig(64, 8), {"seed": 0}, dtype)
    return generator, discriminator
