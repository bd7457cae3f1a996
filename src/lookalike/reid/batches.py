"""Which real and generated images make up each micro-batch: a function of the images seen."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lookalike.config import ArmPolicy, ReidConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.reid.targets import NONE, Targets
from lookalike.seeds import derive_seed
from lookalike.shares import beside
from lookalike.training.prefetch import pinned
from lookalike.training.sampler import PKSampler, ShuffledSampler

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MicroBatch:
    """N images that a process sees at once. With a share of the batch, real ones come first."""

    images: Tensor
    """uint8 [N, H, W, 3]."""
    labels: Tensor
    """int64 [N], NONE where there is no class."""
    generated: Tensor | None = None
    """bool [N]; None where nothing depends on it."""
    distributions: Tensor | None = None
    """float32 [N, classes], for images without a class; None where there is none."""
    apart: int = 0
    """How many images at the end are normalised by themselves."""
    unlabelled: bool = False
    """Whether images without a class are among them."""

    def to(self, device: torch.device) -> MicroBatch:
        """The same there."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        return MicroBatch(**values | moved)


@dataclass(frozen=True)
class Part:
    """What `size` images of every micro-batch are drawn from: `pool`, in the sampler's order."""

    pool: Indices
    size: int
    sampler: ShuffledSampler | PKSampler


class Batches:
    """The batches of a training.

    In one pool, images come as they come, and an epoch is a pass over all. With
    `policy.batch_share`, the micro-batches are those of the real images alone, in the same order,
    and while generated ones take part, enough to make up the share are added to each. An arm then
    takes the baseline's steps and sees each real image as often.

    Args:
        config: the recipe.
        images: uint8 [N, H, W, 3].
        targets: what they are taught as.
        policy: how the generated ones take part.
        seed: of the shuffles.
        device: to which they will go.

    Attributes:
        epoch: images in an epoch; with a share of the batch, real ones.
        size: images in a batch, over all processes; likewise.

    Raises:
        UserError: one of the two kinds of images is missing, or persons for PK sampling.
    """

    def __init__(
        self,
        config: ReidConfig,
        images: Images,
        targets: Targets,
        policy: ArmPolicy,
        *,
        seed: int,
        device: torch.device,
    ):
        self.config, self.images, self.targets, self.policy = config, images, targets, policy
        self.device = device
        self.micro_batches = config.batch_size // config.micro_batch
        self.size, self.epoch = config.batch_size, len(images)
        everything = np.arange(len(images))
        self.window = (0, sys.maxsize)  # in batches
        if policy.batch_share is None:
            self.parts = [self._part(everything, config.micro_batch, seed)]
            return
        real, generated = everything[~targets.generated], everything[targets.generated]
        if not len(real) or not len(generated):
            raise UserError(
                "arm: batch_share needs real and generated images, and there are "
                f"{len(real)} and {len(generated)}"
            )
        self.epoch = len(real)
        unit = config.images_per_person or 1
        count = beside(config.micro_batch, policy.batch_share, unit)
        self.parts = [
            self._part(real, config.micro_batch, seed),
            self._part(generated, count, derive_seed(seed, "generated")),
        ]
        if policy.epochs:
            first, last = (math.ceil(self.epoch * epoch / self.size) for epoch in policy.epochs)
            self.window = first, last

    def _part(self, pool: Indices, size: int, seed: int) -> Part:
        k, labels = self.config.images_per_person, self.targets.labels[pool]
        if k is None or (labels == NONE).all():
            return Part(pool, size, ShuffledSampler(len(pool), seed))
        return Part(pool, size, PKSampler(labels, self.micro_batches * size // k, k, seed))

    def numbers(self, start: int) -> Indices:
        """The images of each micro-batch of the batch at image `start`, one micro-batch a row."""
        batch, (first, last) = start // self.size, self.window
        parts = self.parts if first <= batch < last else self.parts[:1]
        rows = []
        for part, before in zip(parts, (batch, batch - first), strict=False):
            count = self.micro_batches * part.size
            rows.append(part.pool[part.sampler.indices(before * count, count)])
        return np.concatenate([row.reshape(self.micro_batches, -1) for row in rows], axis=1)

    def read(self, start: int, micro_batches: Iterable[int]) -> list[MicroBatch]:
        """Some micro-batches of that batch, by their numbers."""
        numbers = self.numbers(start)
        return [self._read(numbers[m]) for m in micro_batches]

    def _read(self, numbers: Indices) -> MicroBatch:
        labels, generated = self.targets.labels[numbers], self.targets.generated[numbers]
        optional: dict[str, npt.NDArray[Any]] = {}
        if self.policy.weight != 1:
            optional["generated"] = generated
        distributions = self.targets.distributions(numbers)
        if distributions is not None:
            optional["distributions"] = distributions
        images, known, *others = pinned(
            self.device, self.images[numbers], labels, *optional.values()
        )
        return MicroBatch(
            images,
            known,
            **dict(zip(optional, others, strict=True)),
            apart=int(generated.sum()) if self.policy.own_statistics else 0,
            unlabelled=bool((labels == NONE).any()),
        )
