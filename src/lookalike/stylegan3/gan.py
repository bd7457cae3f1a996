"""The networks of one training run, and samples of a generator."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from lookalike.config import GanConfig
from lookalike.data.loading import Images, to_uint8
from lookalike.errors import UserError
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.training.session import derive_seed


@dataclass
class Gan:
    """The networks of one training run; `average` is the generator that is kept and used."""

    generator: Generator
    discriminator: Discriminator
    average: Generator


def build_gan(config: GanConfig, seed: int) -> Gan:
    """Freshly initialised networks, the same in every process.

    Raises:
        UserError: sizes that cannot be built.
    """
    torch.manual_seed(derive_seed(seed, "gan"))
    try:
        return _networks(config)
    except ValueError as error:  # a canvas that StyleGAN3 cannot have
        raise UserError(f"gan: {error}") from error


def _networks(config: GanConfig) -> Gan:
    generator = Generator(
        GeneratorConfig(
            height=config.height,
            width=config.width,
            z_dim=config.z_dim,
            w_dim=config.w_dim,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
            num_layers=config.num_layers,
            margin=config.margin,
            radial=config.config == "r",
        )
    )
    discriminator = Discriminator(
        config.height,
        config.width,
        channel_base=config.discriminator_channel_base,
        channel_max=config.discriminator_channel_max,
    )
    list(discriminator.trainable_parameters(config.freeze_discriminator))  # are there so many?
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    return Gan(generator, discriminator, average)


@torch.no_grad()
def sample_images(
    generator: Generator,
    count: int,
    seed: int,
    *,
    batch_size: int = 16,
    truncation_psi: float = 1.0,
    rows: slice = slice(None),
) -> Images:
    """`count` images of latents drawn from `seed`; the same latents for every generator.

    Of these, `rows` are made: one process' share.
    """
    device = generator.mapping.w_avg.device
    z = np.random.default_rng(seed).standard_normal((count, generator.config.z_dim))
    latents = torch.from_numpy(z[rows].astype(np.float32)).to(device)
    batches = [
        to_uint8(generator(latents[i : i + batch_size], truncation_psi=truncation_psi))
        for i in range(0, len(latents), batch_size)
    ]
    empty = np.empty((0, generator.config.height, generator.config.width, 3), np.uint8)
    return np.concatenate([empty, *batches])
