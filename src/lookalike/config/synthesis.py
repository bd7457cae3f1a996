"""The encoder from images to latents, and what is generated."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import model_validator

from lookalike.config.base import (
    Channels,
    Count,
    Fraction,
    Positive,
    Precision,
    Rate,
    Section,
    SideLength,
    Weight,
)

Group = Literal["coarse", "medium", "fine"]
Kind = Literal["persons", "variations"]  # of generated images
KINDS: tuple[Kind, ...] = get_args(Kind)


class EncoderConfig(Section):
    """ReStyle-pSp on the frozen generator (Alaluf et al. 2021; Richardson et al. 2021)."""

    channels: Channels = 16  # width of the residual backbone's first stage
    steps: Positive = 2  # refinement steps, each a residual on the current latent
    total_images: Positive = 512
    batch_size: Positive = 4
    micro_batch: Positive = 4
    learning_rate: Rate = 0.002
    l2: Weight = 1.0
    lpips: Weight = 0.8
    lpips_backbone: Literal["random", "vgg16-imagenet", "alexnet-imagenet"] = "random"
    identity: Weight = 0.1
    latent_norm: Weight = 0.005  # keeps latents near w_avg, where the generator is good
    checkpoint_images: Positive = 160
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.micro_batch:
            raise ValueError("batch_size must be a multiple of micro_batch")
        if not (self.l2 or self.lpips or self.identity):
            raise ValueError("one of l2, lpips and identity must be above 0, or nothing is learnt")
        return self


class PersonsConfig(Section):
    """New persons from seeds."""

    count: Positive = 30
    images_per_person: Positive = 8
    first_seed: Count = 100000
    truncation_psi: Fraction = 0.8
    group: Group = "coarse"  # layers whose styles vary between a person's images
    # Share of a person's images made by interpolation instead of mixing.
    interpolation: Fraction = 0.2


class VariationsConfig(Section):
    """Variations of real train persons from their inversions."""

    images_per_person: Positive = 3
    truncation_psi: Fraction = 0.8  # of the styles that are mixed in
    group: Group = "coarse"
    interpolation: Fraction = 0.3  # share made by interpolating two inversions of the same person


class GenerateConfig(Section):
    """What is generated, and the size of the stored crops."""

    height: SideLength = 128
    width: SideLength = 64
    batch_size: Positive = 16
    persons: PersonsConfig = PersonsConfig()
    variations: VariationsConfig = VariationsConfig()
