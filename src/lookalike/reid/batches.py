"""Which real and generated images make up each micro-batch: a function of the images seen."""

from __future__ import annotations

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
from lookalike.shares import split_by_share
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


class Batches:
    """The batches of a training.

    In one pool, images come as they come, and all are counted. With `policy.batch_share`, a
    micro-batch has its real images and beside them its generated ones, and only the real ones are
    counted: where generated ones do not take part, the real ones and their order stay the same.

    Args:
        config: the recipe.
        images: uint8 [N, H, W, 3].
        targets: what they are taught as.
        policy: how the generated ones take part.
        seed: of the shuffles.
        device: to which they will go.

    Attributes:
        counted: images in an epoch.
        size: counted images in a batch, over all processes.

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
        everything = np.arange(len(images))
        self.pools = [everything]
        self.sizes: tuple[int, ...] = (config.micro_batch,)
        seeds = [seed]
        if policy.batch_share is not None:
            self.pools = [everything[~targets.generated], everything[targets.generated]]
            unit = config.images_per_person or 1
            self.sizes = split_by_share(config.micro_batch, policy.batch_share, unit)
            seeds = [seed, derive_seed(seed, "generated")]
            if not all(map(len, self.pools)):
                raise UserError(
                    "arm: batch_share needs real and generated images, and there are "
                    f"{len(self.pools[0])} and {len(self.pools[1])}"
                )
        self.micro_batches = config.batch_size // config.micro_batch
        self.samplers = [
            self._sampler(pool, size, seed)
            for pool, size, seed in zip(self.pools, self.sizes, seeds, strict=True)
        ]
        self.counted, self.size = len(self.pools[0]), self.micro_batches * self.sizes[0]

    def _sampler(self, pool: Indices, size: int, seed: int) -> ShuffledSampler | PKSampler:
        k, labels = self.config.images_per_person, self.targets.labels[pool]
        if k is None or (labels == NONE).all():
            return ShuffledSampler(len(pool), seed)
        return PKSampler(labels, self.micro_batches * size // k, k, seed)

    def take_part(self, start: int) -> bool:
        """Whether generated images do so in the batch that starts at counted image `start`."""
        window = self.policy.epochs
        return window is None or window[0] <= start / self.counted < window[1]

    def numbers(self, start: int) -> Indices:
        """The images of each micro-batch of that batch, one micro-batch a row."""
        drawn = zip(self.pools, self.samplers, self.sizes, strict=True)
        count, batch = self.micro_batches, start // self.size
        rows = [
            pool[sampler.indices(batch * count * size, count * size)]
            for pool, sampler, size in (drawn if self.take_part(start) else list(drawn)[:1])
        ]
        return np.concatenate([part.reshape(count, -1) for part in rows], axis=1)

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
