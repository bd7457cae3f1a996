"""StyleGAN3 and its training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lookalike.config.base import (
    Channels,
    Count,
    Fraction,
    Positive,
    Precision,
    Rate,
    Section,
    SideLength,
    Start,
)

Transform = Literal[
    "x-flip",
    "quarter-turn",
    "integer-shift",
    "scale",
    "rotation",
    "anisotropic-scale",
    "fractional-shift",
    "brightness",
    "contrast",
    "luma-flip",
    "hue",
    "saturation",
]
"""The "bgc" set of Karras et al. 2020 (Training GANs with Limited Data), in its order."""


class AdaConfig(Section):
    """Adaptive discriminator augmentation (Karras et al. 2020, sections 2 and 3)."""

    initial_p: Fraction = 0  # chance of each transform at the start
    target: Fraction | None = 0.6  # mean sign of the logits of real images; null leaves p as it is
    # In which p can move by 1: 500000 from scratch, 100000 in transfer learning.
    images: Positive = 100000
    max_p: Fraction = 0.8  # above 0.8 augmentations leak into the generated images
    # All but quarter turns, luma flips and hues, which make little sense of pedestrians.
    transforms: Annotated[tuple[Transform, ...], Field(min_length=1)] = (
        "x-flip",
        "integer-shift",
        "scale",
        "rotation",
        "anisotropic-scale",
        "fractional-shift",
        "brightness",
        "contrast",
        "saturation",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.initial_p > self.max_p:
            raise ValueError("initial_p must not be larger than max_p")
        return self


class GanConfig(Section):
    """StyleGAN3 and its training (Karras et al. 2021, 2020)."""

    # t: 3x3 convolutions. r: 1x1 convolutions and radial filters, so that details rotate with the
    # body too. The generator then has twice the channels named below, as published.
    config: Literal["t", "r"] = "t"
    # What the networks are told about an image, so that the generator can be asked for it.
    condition: Literal["none", "person", "camera"] = "camera"
    height: SideLength = 64
    width: SideLength = 32
    z_dim: Channels = 64
    w_dim: Channels = 64
    channel_base: Positive = 2048  # channels are this by the resolution, and at most the next
    channel_max: Channels = 96
    num_layers: Annotated[int, Field(gt=2, le=64)] = 8
    margin: Annotated[int, Field(gt=0, le=256)] = 4
    discriminator_channel_base: Positive = 2048
    discriminator_channel_max: Channels = 64
    # What the generator is trained against. stylegan: StyleGAN3's own discriminator. projected: one
    # on pretrained features (Sauer et al. 2021), which sees shapes at once and hardly minds
    # colours. both: the own one keeps the colours.
    discriminator: Literal["stylegan", "projected", "both"] = "stylegan"
    projected_weight: Rate = 0.25  # of its part in the generator's loss, where there are both
    start: Start = "starting-generator"
    # Layers counted from the input (Freeze-D, Mo et al. 2020), as in the original: the one that
    # reads the image, then three in each block.
    freeze_discriminator: Count = 0
    total_images: Positive = 400
    batch_size: Positive = 8
    micro_batch: Positive = 8
    generator_lr: Rate = 0.0025
    discriminator_lr: Rate = 0.002
    r1_gamma: Rate = 0.1
    r1_interval: Positive = 16
    ema_half_life: Rate = 1000  # images
    mirror: bool = True  # x-flips of real images
    ada: AdaConfig | None = None  # null: the discriminator sees images as they are
    snapshot_images: Positive = 200  # between two measurements of the distance and sample grids
    # Generated images per measurement, four at least; full: as many as there are real ones. The
    # real side is always the full train split.
    distance_samples: Annotated[Positive, Field(ge=4)] | Literal["full"] = 320
    distance_features: Literal["reid", "inception"] = "reid"
    checkpoint_images: Positive = 320
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        longer = max(self.height, self.width)
        if longer < 16:
            raise ValueError("the longer of height and width must be 16 or more")
        if min(self.channel_base, self.discriminator_channel_base) < 2 * longer:
            raise ValueError(
                "channel_base and discriminator_channel_base must be at least twice the longer of "
                "height and width, or the last layers have no channel"
            )
        if self.batch_size % self.micro_batch:
            raise ValueError("batch_size must be a multiple of micro_batch")
        group = min(4, self.batch_size)
        if self.micro_batch % group:
            raise ValueError(
                f"micro_batch must be a multiple of {group}: the discriminator compares images in "
                "groups of four, or of batch_size where that is smaller"
            )
        return self
