"""The augmentation arms: which generated images join the real ones, and how."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from lookalike.config.base import Count, Positive, Section, Weight, one_of
from lookalike.config.reid import ReidConfig
from lookalike.config.synthesis import KINDS
from lookalike.names import counted
from lookalike.shares import beside

# Labels of generated images, each with its object in `reid/label_policies.py`. These give a class,
WithClass = Literal["person", "own"]
# and these come from the baseline.
FromBaseline = Literal["soft"]
ARM_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"  # of a folder, and of DVC's stages


class ArmPolicy(Section):
    """How generated images take part in a training; see docs/arms.md. The defaults: like real ones.

    `batch_share`, `epochs` and `own_statistics` need real and generated images apart.
    """

    # What a generated image is taught as. person: its person_id, so a new person is a class of its
    # own and a variation has its source's. own: a variation has a class beside its source's, too.
    # uniform: every real class alike (LSRO, Zheng et al. 2017). soft: what the baseline takes it
    # for. consistency: what the model takes another view of it for (Laine and Aila 2017).
    label: Literal[WithClass, "uniform", FromBaseline, "consistency"] = "person"
    weight: Weight = 1.0  # of a generated image's loss; a real one's is 1
    # Of what a step sees, what is generated, beside the real images of a micro-batch; rounded to
    # whole images (whole persons in PK sampling). null: all in one pool.
    batch_share: Annotated[float, Field(gt=0, le=0.8)] | None = None
    # When they take part: from this epoch until before that one; null: always.
    epochs: tuple[Count, Positive] | None = None
    # Normalise them by batch statistics of their own, and keep them out of the running ones
    # (AdvProp, Xie et al. 2020, with one affine for both).
    own_statistics: bool = False

    @property
    def labelled(self) -> bool:
        """Whether generated images have a class."""
        return self.label in get_args(WithClass)

    @property
    def asks_baseline(self) -> bool:
        """Whether generated images have the labels that the baseline gives them."""
        return self.label in get_args(FromBaseline)

    def check(self, reid: ReidConfig) -> None:
        """Whether a training by this recipe can do it.

        Raises:
            ValueError: it cannot; says why.
        """
        if self.epochs and self.epochs[1] > reid.epochs:
            raise ValueError(f"epochs ends at {self.epochs[1]}, and reid.epochs is {reid.epochs}")
        if self.batch_share is None:
            if reid.images_per_person and not self.labelled:
                raise ValueError(
                    f"label: {self.label} leaves images without a person, and "
                    "reid.images_per_person draws persons; set batch_share to draw them apart"
                )
            return
        unit = reid.images_per_person or 1
        generated = beside(reid.micro_batch, self.batch_share, unit)
        if generated < 2:
            raise ValueError(
                f"batch_share: {self.batch_share:g} puts {counted(generated, 'generated image')} "
                f"beside the {reid.micro_batch} real ones of reid.micro_batch; two are needed"
            )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.batch_share is None and (self.epochs or self.own_statistics):
            name = "epochs" if self.epochs else "own_statistics"
            raise ValueError(f"{name} needs batch_share, which draws generated images apart")
        if self.epochs and self.epochs[0] >= self.epochs[1]:
            raise ValueError("epochs is a window: the first one, and the first one after it")
        return self


class ArmImages(Section):
    """Which images an arm trains on."""

    # Of one kind, or of two. [none]: real images only.
    images: Annotated[tuple[Annotated[str, one_of(("none", *KINDS))], ...], Field(min_length=1)]
    # Data sets whose train images are the real ones: own (data/) and names of data.others.
    real: Annotated[tuple[str, ...], Field(min_length=1)] = ("own",)
    max_persons: Positive | None = None  # of each kind
    max_images_per_person: Positive | None = None

    @field_validator("images", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(f"is a list: write [{value}]")
        return value

    @field_validator("images")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) != len(set(value)) or ("none" in value and len(value) > 1):
            raise ValueError("name each kind once, or none alone")
        if len(value) > 2:
            raise ValueError("name two kinds at most: dvc.yaml watches the first and the last")
        return value


class ArmConfig(ArmPolicy, ArmImages):
    """An augmentation arm: which generated images join the real ones, and how they take part."""

    @property
    def policy(self) -> ArmPolicy:
        """How they take part, alone."""
        return ArmPolicy(**self.model_dump(include=set(ArmPolicy.model_fields)))

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if "none" in self.images and self.policy != ArmPolicy():
            raise ValueError(
                f"images: [none] adds no generated images, and {', '.join(ArmPolicy.model_fields)} "
                "say how those take part; leave them out, or name images"
            )
        if self.asks_baseline and "own" not in self.real:
            raise ValueError(
                f"label: {self.label} comes from the baseline, which knows the persons of own "
                "alone; add own to real, or take another label"
            )
        return self
