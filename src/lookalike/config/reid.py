"""The re-ID model and its training."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lookalike.config.base import (
    Channels,
    Fraction,
    Positive,
    Precision,
    Rate,
    Section,
    SideLength,
    Weight,
)
from lookalike.words import not_among


class ReidLossConfig(Section):
    """Cross-entropy over persons, and the metric losses that are added to it."""

    label_smoothing: Fraction = 0.0  # Szegedy et al. 2016
    # Batch-hard triplets (Hermans et al. 2017): the margin, or a soft one; null: none.
    triplet: Rate | Literal["soft"] | None = None
    centre: Weight = 0.0  # of the centre loss (Wen et al. 2016); 0: none
    circle: Weight = 0.0  # of the circle loss (Sun et al. 2020); 0: none


class ReidScheduleConfig(Section):
    """The learning rate over epochs of as many images as there are to train on."""

    warm_up: Weight = 0.8  # epochs of linear rise
    # To 0, or by 10 after each of these epochs.
    decay: Literal["cosine"] | tuple[Positive, ...] = "cosine"
    freeze: Weight = 0  # epochs in which the backbone stays as it was loaded


RESNET50, RESNET50_IMAGENET = "resnet50", "resnet50-imagenet"
# Weights of ImageNet that come as Python packages, and the models of timm that they are.
PACKAGED = {
    "efficientnet-lite0": "tf_efficientnet_lite0",
    "efficientnet-lite2": "tf_efficientnet_lite2",
}


def _watched(weights: str) -> str:
    """A name, or the path of a file that `dvc.yaml` can see the change of."""
    names, path = ("none", RESNET50_IMAGENET, *PACKAGED), PurePosixPath(weights)
    if weights not in names and path.suffix != ".safetensors":
        raise ValueError(f"{not_among(weights, names)} (or a .safetensors file in weights/)")
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("give the file's path within weights/, which DVC watches")
    return weights


class ReidConfig(Section):
    """A backbone with a batch-normalised embedding and one output per person; its training."""

    # resnet50: the study's, torchvision's. Or a name of timm.list_models(), with that model's own
    # pooling; images are normalised as ImageNet's for all.
    backbone: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.]*$", max_length=100)] = RESNET50
    height: SideLength = 48
    width: SideLength = 24
    # none, resnet50-imagenet, a .safetensors file in weights/ that timm publishes, or what comes as
    # a package: efficientnet-lite0 or -lite2.
    weights: Annotated[str, AfterValidator(_watched)] = "none"
    # Of the fc layer; null: no such layer, the backbone's own (2048 of ResNet50).
    embedding_dim: Channels | None = 256
    bnneck: bool = False  # batch norm without shift, classifier without bias (Luo et al. 2019)
    dropout: Annotated[Fraction, Field(lt=1)] = 0.2
    last_stride: Literal[1, 2] = 2  # 1 keeps layer4 at twice the resolution (Luo et al. 2019)
    pooling: Literal["average", "gem"] = "average"  # gem: generalised mean (Radenovic et al. 2018)
    # Instance norm on half of the channels of layers 1 to 3 (IBN-a, Pan et al. 2018).
    ibn: bool = False
    loss: ReidLossConfig = ReidLossConfig()
    epochs: Positive = 10
    batch_size: Positive = 16  # over all processes
    # Images at once, beside which stand those of an arm's batch_share: the scope of metric losses
    # and batch statistics.
    micro_batch: Positive = 16
    images_per_person: Positive | None = None  # in a batch, K of PK sampling; null: shuffled images
    erasing: Fraction = 0.0  # probability of random erasing (Zhong et al. 2020)
    optimizer: Literal["adam", "adamw"] = "adamw"  # adam adds the weight decay to the gradient
    learning_rate: Rate = 0.001
    weight_decay: Weight = 0.0005
    schedule: ReidScheduleConfig = ReidScheduleConfig()
    checkpoint_images: Positive = 3000
    precision: Precision = "fp32"

    @property
    def recipe(self) -> dict[str, Any]:
        """As JSON, for files and keys: what came later is left out while it is as it was before."""
        same = {"backbone"} if self.backbone == RESNET50 else None
        return self.model_dump(mode="json", exclude=same)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.micro_batch < 2:
            raise ValueError("micro_batch must be 2 or more: batch norm compares images in it")
        if self.batch_size % self.micro_batch:
            raise ValueError("batch_size must be a multiple of micro_batch")
        if self.schedule.warm_up >= self.epochs:
            raise ValueError("schedule.warm_up must be shorter than epochs")
        if self.weights in PACKAGED and self.backbone != PACKAGED[self.weights]:
            raise ValueError(f"weights {self.weights} are of backbone: {PACKAGED[self.weights]}")
        if self.backbone != RESNET50:
            if self.weights == RESNET50_IMAGENET:
                raise ValueError(f"weights {self.weights} are of backbone: {RESNET50}")
            for name in ("last_stride", "pooling", "ibn"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is a change to {RESNET50}, not to {self.backbone}")
        if self.schedule.freeze and self.weights == "none":
            raise ValueError("schedule.freeze keeps loaded weights; there are none to keep")
        if self.images_per_person and self.micro_batch % self.images_per_person:
            raise ValueError("micro_batch must hold whole persons: multiples of images_per_person")
        if self.loss.triplet or self.loss.circle:
            images = self.images_per_person or 1
            if images < 2 or self.micro_batch < 2 * images:
                raise ValueError(
                    "loss.triplet and loss.circle compare images within a micro_batch: it must "
                    "hold at least two persons, and images_per_person must be 2 or more"
                )
        return self
