"""The networks of one training run, and samples of a generator."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from lookalike.config import GanConfig
from lookalike.data.loading import Images, to_uint8
from lookalike.errors import UserError
from lookalike.progress import Progress
from lookalike.seeds import derive_seed
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.projected import ProjectedDiscriminator
from lookalike.stylegan3.resampling import Resampler


@dataclass
class Gan:
    """The networks of one training run; `average` is the generator that is kept and used.

    `projected` is there if the generator is trained against it. StyleGAN's own discriminator always
    is, trained or not: a checkpoint to go on from has one.
    """

    generator: Generator
    discriminator: Discriminator
    average: Generator
    projected: ProjectedDiscriminator | None = None


def build_gan(config: GanConfig, seed: int, classes: Classes | None = None) -> Gan:
    """Freshly initialised networks, the same in every process; conditional where there are classes.

    Raises:
        UserError: sizes that cannot be built, or no weights for a discriminator on features.
    """
    torch.manual_seed(derive_seed(seed, "gan"))
    try:
        return _networks(config, classes)
    except ValueError as error:  # a canvas that StyleGAN3 cannot have
        raise UserError(f"gan: {error}") from error


def _networks(config: GanConfig, classes: Classes | None) -> Gan:
    c_dim = len(classes.names) if classes else 0
    # As published: 1x1 convolutions leave room for twice the channels; the discriminator's stay.
    widening = 2 if config.config == "r" else 1
    generator = Generator(
        GeneratorConfig(
            height=config.height,
            width=config.width,
            z_dim=config.z_dim,
            w_dim=config.w_dim,
            channel_base=widening * config.channel_base,
            channel_max=widening * config.channel_max,
            num_layers=config.num_layers,
            margin=config.margin,
            radial=config.config == "r",
            c_dim=c_dim,
        ),
        classes,
    )
    discriminator = Discriminator(
        config.height,
        config.width,
        channel_base=config.discriminator_channel_base,
        channel_max=config.discriminator_channel_max,
        c_dim=c_dim,
    )
    list(discriminator.trainable_parameters(config.freeze_discriminator))  # are there so many?
    # Filters are the canvas's and never change: one set for both (240 MiB for R at 1024 pixels).
    shared = {id(m): m for m in generator.modules() if isinstance(m, Resampler)}
    average = copy.deepcopy(generator, shared).eval().requires_grad_(False)
    projected = None
    if config.discriminator != "stylegan":
        projected = ProjectedDiscriminator(config.height, config.width, c_dim)
    return Gan(generator, discriminator, average, projected)


@torch.no_grad()
def sample_images(
    generator: Generator,
    count: int,
    seed: int,
    *,
    batch_size: int = 16,
    truncation_psi: float = 1.0,
    rows: slice = slice(None),
    visible: bool = True,
) -> Images:
    """`count` images of latents drawn from `seed`; the same latents for every generator.

    A conditional one also draws labels, each class as often as among its training images. Of these
    images, `rows` are made: one process' share. `visible`: whether the progress is shown.
    """
    device = generator.mapping.w_avg.device
    random = np.random.default_rng(seed)
    z = random.standard_normal((count, generator.config.z_dim))
    latents = torch.from_numpy(z[rows].astype(np.float32)).to(device)
    labels: torch.Tensor | None = None
    if generator.classes is not None:
        labels = torch.from_numpy(generator.classes.draw(count, random)[rows]).to(device)

    def batch(part: slice) -> Images:
        some = None if labels is None else labels[part]
        return to_uint8(generator(latents[part], truncation_psi=truncation_psi, labels=some))

    batches = [np.empty((0, generator.config.height, generator.config.width, 3), np.uint8)]
    with Progress("samples", len(latents), visible=visible) as progress:
        for start in range(0, len(latents), batch_size):
            batches.append(batch(slice(start, start + batch_size)))
            progress.advance(len(batches[-1]))
    return np.concatenate(batches)
