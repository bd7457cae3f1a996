"""The encoder from images to latents, and what is generated."""

from __future__ import annotations

from typing import Literal, Self

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
    Start,
    Weight,
)

Group = Literal["coarse", "medium", "fine", "structure", "camera", "appearance"]


class EncoderConfig(Section):
    """The encoder on the frozen generator: two codes, or ReStyle-pSp (Alaluf et al. 2021)."""

    start: Start = "starting-encoder"
    # How many of the generator's styles, from the first, are read off a grey copy of an image and
    # say how somebody is seen, while the others say who it is (as in DG-Net, Zheng et al. 2019). It
    # is trained on pairs of images of one person. 0: all off one image (ReStyle-pSp).
    structure_styles: Count = 5
    channels: Channels = 20  # width of the residual backbone's first stage
    steps: Positive = 1  # of ReStyle's refinement, each a residual on the current latent
    total_images: Positive = 1600
    batch_size: Positive = 16
    micro_batch: Positive = 16
    learning_rate: Rate = 0.0005
    l2: Weight = 1.0
    perceptual: Weight = 0.8
    # Of the perceptual loss: LPIPS with a random, a VGG16's or an AlexNet's trunk, or the distance
    # in an EfficientNet-Lite0's features.
    perceptual_backbone: Literal[
        "random", "vgg16-imagenet", "alexnet-imagenet", "efficientnet-lite0"
    ] = "efficientnet-lite0"
    identity: Weight = 0.1
    latent_norm: Weight = 0.005  # keeps latents near w_avg, where the generator is good
    # Steps of optimisation at most, from where the encoder puts it, of each train image's latent;
    # dressed persons and variations start from what comes out. 0: what the encoder says.
    latent_steps: Count = 0
    checkpoint_images: Positive = 160
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.micro_batch:
            raise ValueError("batch_size must be a multiple of micro_batch")
        if not (self.l2 or self.perceptual or self.identity):
            raise ValueError(
                "one of l2, perceptual and identity must be above 0, or nothing is learnt"
            )
        if self.structure_styles and self.steps > 1:
            raise ValueError("structure_styles is read in one step; steps is for ReStyle's, with 0")
        return self


class KindConfig(Section):
    """A kind of generated images."""

    images_per_person: Positive

    def persons(self, real: int) -> int:
        """How many persons are shown, given how many real train persons there are."""
        return real


class PersonsConfig(KindConfig):
    """New persons from seeds."""

    count: Positive = 1000
    images_per_person: Positive = 6
    first_seed: Count = 100000
    truncation_psi: Fraction = 1.0
    # The images of a real train person each, dressed in the appearance of the new one's seed; what
    # the generator leaves out of them is kept. false: everything is drawn from seeds.
    dressed: bool = True
    # Where everything is drawn from seeds: the styles that vary between a person's images, and the
    # share of them that is made by interpolation instead of mixing.
    group: Group = "structure"
    interpolation: Fraction = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dressed and self.interpolation:
            raise ValueError("interpolation is between seeds; set dressed: false for it")
        return self

    def persons(self, real: int) -> int:
        """See KindConfig."""
        return self.count


class VariationsConfig(KindConfig):
    """Variations of real train persons from their inversions."""

    images_per_person: Positive = 6
    # Share whose styles of `group` come from another image, of anybody: with detail its place.
    crosses: Fraction = 1.0
    interpolation: Fraction = 0.0  # share made by interpolating two inversions of the same person
    truncation_psi: Fraction = 0.8  # of the styles that the rest take from seeds
    group: Group = "structure"  # the styles that come from elsewhere
    # Keep what the generator leaves out of the source: x + G(w') - G(w). With the groups structure
    # and camera the person stays as they are, and only the place around them changes.
    detail: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.crosses + self.interpolation > 1:
            raise ValueError("crosses and interpolation are shares: together 1 at most")
        if self.detail and self.group in ("coarse", "medium"):
            raise ValueError(
                f"group: {self.group} moves limbs, and detail would keep them where they were; set "
                "detail: false, or group: structure"
            )
        if self.group == "appearance":
            raise ValueError("group: appearance would put somebody else's clothes on the person")
        return self


class GenerateConfig(Section):
    """The size of the stored crops, and a section for each kind of generated images."""

    height: SideLength = 128
    width: SideLength = 64
    batch_size: Positive = 16
    persons: PersonsConfig = PersonsConfig()
    variations: VariationsConfig = VariationsConfig()

    def of(self, kind: str) -> KindConfig:
        """The section of a kind, which is called like it."""
        section: KindConfig = getattr(self, kind)
        return section


KINDS = tuple(
    name
    for name, field in GenerateConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, KindConfig)
)
