"""Training of the re-ID network by a recipe: losses, sampling, schedule and head are parameters.

Everything counts in images seen, so that the schedule does not depend on the number of processes,
and each micro-batch's randomness depends on nothing else, so that a killed run continues exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lookalike.config import ReidConfig, ReidScheduleConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.progress import say
from lookalike.reid.losses import ReidLosses
from lookalike.reid.model import IMAGENET_MEAN, ReidNet, load_imagenet, new_reid
from lookalike.reid.ranking import CRITERION
from lookalike.seeds import derive_seed
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.curves import Curves
from lookalike.training.loop import History, Loop, rows
from lookalike.training.prefetch import pinned
from lookalike.training.sampler import PKSampler, ShuffledSampler
from lookalike.training.session import Session, Stateful, steps_for
from lookalike.training.statistics import with_one_update

POINTS = 60  # of each curve
CROP_SHARE = 16  # crops move by up to height / CROP_SHARE pixels in each direction
ERASED_AREA = (0.02, 0.4)  # share of the image (Zhong et al. 2020, 4)
ERASED_ASPECT = (0.3, 1 / 0.3)  # height to width
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}

Validate = Callable[[ReidNet], dict[str, float]]
MicroBatches = list[list[Tensor]]  # of each uint8 [N, H, W, 3] and labels [N]


def train_reid(
    config: ReidConfig,
    images: Images,
    persons: Sequence[str],
    *,
    session: Session,
    resume: ResumeState,
    tracker: Tracker,
    initial: Mapping[str, Tensor] | None,
    validate: Validate | None,
) -> tuple[ReidNet, History]:
    """Train on `config.epochs` times as many images as there are; a killed run goes on as it was.

    Batch statistics and metric losses see one micro-batch. The running statistics move once per
    batch, by the mean over its micro-batches; their mean over the processes is taken before each
    validation and checkpoint and at the end, which comes to the same.

    Args:
        config: the re-ID section of the parameters.
        images: uint8 [N, height, width, 3], real and generated ones alike; may be memory-mapped.
        persons: the person id of each image; the sorted ids are the classes.
        session: process, device and seed.
        resume: where the state is kept; the caller discards it after writing the model.
        tracker: gets `loss` and its terms, `accuracy`, `gradient_norm`, `learning_rate`, and what
            `validate` returns as `validation_...`; see `training.loop`.
        initial: torchvision's ResNet50 state dict, or None to start from scratch.
        validate: called on the main process with the network in evaluation mode; among others it
            returns `mAP`. None: no validation, and the last weights are kept.

    Returns:
        The network in evaluation mode with the weights of the best validation (of the last among
        equals), the same on every process; and on the main process the history. Its rows say what
        the tracker got, without what depends on the machine: `images` seen, `loss` and its terms,
        `accuracy`, `gradient_norm`, `learning_rate`, and `validation_...` in the rows of a
        validation. It is part of the resume state: a killed run returns that of an uninterrupted
        one.

    Raises:
        ValueError: images and persons do not fit together or have another size than `config`'s.
        UserError: too few persons; batches do not divide; the loss is no longer finite; the
            resume state is of other persons.
    """
    classes = sorted(set(persons))
    if images.shape != (len(persons), config.height, config.width, 3):
        raise ValueError(
            f"images {images.shape} must be ({len(persons)} persons' labels, "
            f"{config.height}, {config.width}, 3)"
        )
    if len(classes) < 2:
        raise UserError(f"training needs images of at least two persons, not {len(classes)}")
    number = {person: index for index, person in enumerate(classes)}
    labels = np.array([number[person] for person in persons])

    torch.manual_seed(derive_seed(session.seed, "reid"))
    model = new_reid(config, len(classes))
    if initial is not None:
        report = load_imagenet(model, initial)
        if session.is_main:
            say(report)
    model.to(session.device)
    session.broadcast(model)

    steps = steps_for(config.epochs * len(images), config.batch_size)
    loop = Loop(
        "train re-ID",
        images=config.epochs * len(images),
        batch_size=config.batch_size,
        session=session,
        resume=resume,
        tracker=tracker,
        point_steps=math.ceil(steps / POINTS),
        checkpoint_images=config.checkpoint_images,
        shown=("loss", "accuracy"),
        remedy="lower reid.learning_rate (with reid.precision fp16, try bf16 or fp32)",
        same={"persons": classes},
    )
    training = ReidTraining(config, model, images, labels, session=session, curves=loop.curves)
    best = Best()
    loop.register(training.parts())
    loop.register({"best": best}, replicated=False)  # only the main process validates

    def measure(images_seen: int) -> dict[str, float]:
        if validate is None or not session.is_main:
            return {}
        scores = validate(model.eval())
        best.consider(scores[CRITERION], images_seen, model)
        return {f"validation_{name}": float(value) for name, value in scores.items()}

    between = math.ceil(steps / validations(config.epochs)) * config.batch_size
    loop.run(
        training.step,
        training.read,
        measure=measure if validate else None,
        due=lambda seen: seen > 0 and seen % between == 0,
        settle=lambda: session.average_buffers(model),
    )
    if best.weights and session.is_main:
        say(f"kept the weights at {best.images_seen} images: {CRITERION} {best.score:.4f}")
        model.load_state_dict(best.weights)
    session.broadcast(model)
    return model.eval(), rows(loop.points, loop.measurements)


class ReidTraining:
    """A training step of the network by a recipe.

    Args:
        config: the recipe.
        model: on the device.
        images, labels: to train on, labels as numbers of classes [N].
        session: this process.
        curves: get what a step measures.
    """

    def __init__(
        self,
        config: ReidConfig,
        model: ReidNet,
        images: Images,
        labels: npt.NDArray[np.int64],
        *,
        session: Session,
        curves: Curves,
    ):
        self.config, self.model, self.session, self.curves = config, model, session, curves
        self.images, self.labels = images, labels
        classes, width = int(labels.max()) + 1, model.embedding_dim
        self.losses = ReidLosses(config.loss, classes, width).to(session.device)
        self.optimizer = OPTIMIZERS[config.optimizer](
            model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.scaler = session.loss_scaler()
        seed = derive_seed(session.seed, "reid")
        self.sampler: ShuffledSampler | PKSampler = ShuffledSampler(len(images), seed)
        if k := config.images_per_person:
            self.sampler = PKSampler(labels, config.batch_size // k, k, seed)
        self.shard = session.shard(config.batch_size, config.micro_batch)

    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        return {
            "model": self.model,
            "losses": self.losses,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }

    def read(self, start: int) -> MicroBatches:
        """This process' share of the batch that starts at image `start`."""
        batch = self.sampler.indices(start, self.config.batch_size)
        numbers = batch.reshape(-1, self.config.micro_batch)
        return [
            pinned(self.session.device, self.images[numbers[m]], self.labels[numbers[m]])
            for m in self.shard
        ]

    def step(self, batch: MicroBatches, images_seen: int) -> None:
        """Lower the recipe's losses on one batch."""
        self.prepare(images_seen / len(self.images))
        self.optimizer.zero_grad(set_to_none=True)
        numbered = list(zip(self.shard, batch, strict=True))
        for micro, tensors in with_one_update(self.model, numbered):
            self.session.seed_step(images_seen, micro)
            x, y = (t.to(self.session.device, non_blocking=True) for t in tensors)
            x = augment(x.permute(0, 3, 1, 2)).float().div_(127.5).sub_(1.0)
            if self.config.erasing:
                x = erase(x, self.config.erasing)
            with self.session.autocast():
                embedding = self.model.before_norm(x)
                logits = self.model.classify(embedding).float()
            terms = self.losses(logits, embedding.float(), y)
            loss = torch.stack(list(terms.values())).sum()
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            hits = (logits.argmax(dim=1) == y).float().mean()
            self.curves.add(loss=loss, accuracy=hits, **(terms if len(terms) > 1 else {}))
        trained = [*self.model.parameters(), *self.losses.parameters()]
        scaled = self.scaler.is_enabled()
        self.session.average_gradients(trained, len(self.shard), scaled=scaled)
        self.curves.add_gradient_norm(self.model.parameters(), scaler=self.scaler)
        self.losses.step(self.scaler.get_scale())
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def prepare(self, epoch: float) -> None:
        """What the schedule says of this moment: frozen layers and the learning rate."""
        frozen = epoch < self.config.schedule.freeze
        self.model.train()
        self.model.backbone.train(not frozen).requires_grad_(not frozen)
        factor = schedule(epoch, self.config.epochs, self.config.schedule)
        rate = self.config.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.curves.noted["learning_rate"] = rate


class Best:
    """The weights that did best on validation persons.

    Attributes:
        weights: their state dict, on the CPU; None before the first validation.
        score, images_seen: how good they were, and when.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] | None = None
        self.score, self.images_seen = math.nan, 0

    def consider(self, score: float, images_seen: int, model: ReidNet) -> None:
        """Keep the model's weights unless what is kept was better."""
        if self.weights is None or not score < self.score:
            self.score, self.images_seen = score, images_seen
            state = model.state_dict()
            self.weights = {k: t.detach().to("cpu", copy=True) for k, t in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        vars(self).update(state)


def validations(epochs: int) -> int:
    """How often validation persons are measured: four times, in long trainings every ten epochs.

    Evenly spread, the last time at the end.
    """
    return max(4, epochs // 10)


def schedule(epoch: float, epochs: int, config: ReidScheduleConfig) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine to 0, or steps down.

    (Loshchilov and Hutter 2017; Goyal et al. 2017.) The first step has a small rate, not none.
    """
    if epoch < config.warm_up:
        return 0.01 + 0.99 * epoch / config.warm_up
    if config.decay == "cosine":
        share = min(1.0, (epoch - config.warm_up) / (epochs - config.warm_up))
        return 0.5 * (1 + math.cos(math.pi * share))
    return float(0.1 ** sum(epoch >= at for at in config.decay))


def augment(x: Tensor) -> Tensor:
    """Mirror half of the images and shift each by whole pixels; torch's random state.

    The shift is what padding with the border's pixels and cropping does. Both only choose which
    pixel goes where, so one gather does it for the batch [N, 3, H, W].
    """
    count, _, height, width = x.shape
    reach = height // CROP_SHARE
    shift = torch.randint(-reach, reach + 1, (2, count, 1), device=x.device)
    mirror = torch.rand(count, 1, device=x.device) < 0.5
    rows = (torch.arange(height, device=x.device) + shift[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) + shift[1]).clamp(0, width - 1)
    columns = torch.where(mirror, width - 1 - columns, columns)
    image = torch.arange(count, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def erase(x: Tensor, probability: float) -> Tensor:
    """Random erasing (Zhong et al. 2020): a rectangle of an image becomes ImageNet's mean colour.

    For a batch [N, 3, H, W] in [-1, 1] at once, each image with this probability. Area and aspect
    are drawn as in the paper; a rectangle that does not fit is cut to the image instead of drawn
    again.
    """
    count, _, height, width = x.shape
    area, aspect, top, left, chance = torch.rand(5, count, 1, device=x.device)
    low, high = (math.log(bound) for bound in ERASED_ASPECT)
    aspect = torch.exp(low + (high - low) * aspect)
    area = height * width * (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area)
    tall = (area * aspect).sqrt().round().clamp(1, height)
    wide = (area / aspect).sqrt().round().clamp(1, width)
    top = (top * (height - tall + 1)).floor()
    left = (left * (width - wide + 1)).floor()
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    rows = (rows >= top) & (rows < top + tall) & (chance < probability)
    columns = (columns >= left) & (columns < left + wide)
    erased = rows[:, None, :, None] & columns[:, None, None, :]
    mean = x.new_tensor(IMAGENET_MEAN).view(3, 1, 1) * 2 - 1
    return torch.where(erased, mean, x)
