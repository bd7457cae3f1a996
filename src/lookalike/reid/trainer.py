"""Training of the re-ID network by a recipe: losses, sampling, schedule and head are parameters.

Everything counts in images seen, so that the schedule does not depend on the number of processes,
and each micro-batch's randomness depends on nothing else, so that a killed run continues exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookalike.config import ReidConfig, ReidScheduleConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.progress import Progress, say
from lookalike.reid.losses import ReidLosses
from lookalike.reid.model import IMAGENET_MEAN, ReidNet, load_imagenet, new_reid
from lookalike.reid.ranking import CRITERION
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.prefetch import Prefetch
from lookalike.training.sampler import PKSampler, ShuffledSampler
from lookalike.training.session import Session, crossed, derive_seed, steps_for
from lookalike.training.statistics import with_one_update

POINTS = 60  # of each curve
CROP_SHARE = 16  # crops move by up to height / CROP_SHARE pixels in each direction
ERASED_AREA = (0.02, 0.4)  # share of the image (Zhong et al. 2020, 4)
ERASED_ASPECT = (0.3, 1 / 0.3)  # height to width
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}

Validate = Callable[[ReidNet], dict[str, float]]
History = list[dict[str, float]]
MicroBatch = tuple[Tensor, Tensor]  # uint8 [N, H, W, 3] and labels [N]


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
        tracker: gets `loss` and its terms, `accuracy`, `learning_rate`, `images_per_second` and
            `data_wait` (share of the time spent waiting for images), and what `validate` returns
            as `validation_...`, with the images seen as step. Points are handed over right after
            a checkpoint, so that a resumed run repeats none.
        initial: torchvision's ResNet50 state dict, or None to start from scratch.
        validate: called on the main process with the network in evaluation mode; among others it
            returns `mAP`. None: no validation, and the last weights are kept.

    Returns:
        The network in evaluation mode with the weights of the best validation (of the last among
        equals), the same on every process; and on the main process the history. Its rows say what
        the tracker got, without what depends on the clock: `images` seen, `loss` and its terms,
        `accuracy`, `learning_rate`, and `validation_...` in the rows of a validation. It is part of
        the resume state: a killed run returns that of an uninterrupted one.

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
    losses = ReidLosses(config.loss, len(classes), model.embedding_dim).to(session.device)
    optimizer = OPTIMIZERS[config.optimizer](
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    scaler = session.loss_scaler()
    seed = derive_seed(session.seed, "reid")
    sampler: ShuffledSampler | PKSampler = ShuffledSampler(len(images), seed)
    if k := config.images_per_person:
        sampler = PKSampler(labels, config.batch_size // k, k, seed)
    shard = session.shard(config.batch_size, config.micro_batch)
    steps = steps_for(config.epochs * len(images), config.batch_size)
    total = steps * config.batch_size

    seen = 0
    sums: Tensor | float = 0.0  # of the losses' terms, accuracy and 1, since the last point
    best: dict[str, Any] | None = None  # the weights that did best on validation persons
    history: History = []
    if state := resume.load():
        if state.get("classes", classes) != classes:
            raise UserError(
                f"{resume.path} is of a training on other persons; delete it to start afresh"
            )
        model.load_state_dict(state["model"])
        losses.load_state_dict(state["losses"])
        optimizer.load_state_dict(state["optimizer"])
        sums, best, seen = state["sums"], state["best"], int(state["images_seen"])
        history = state["history"]
        if isinstance(sums, Tensor):
            sums = sums.to(session.device)
        scaler.load_state_dict(state["scaler"])

    def read(start: int) -> list[MicroBatch]:
        """This process' share of the batch that starts at image `start`."""
        batch = sampler.indices(start, config.batch_size).reshape(-1, config.micro_batch)
        return [pinned(images[batch[m]], labels[batch[m]], session.device) for m in shard]

    between = math.ceil(steps / validations(config.epochs))
    points: list[tuple[dict[str, float], int]] = []
    clock, clock_seen, note = time.monotonic(), seen, ""
    with (
        Prefetch(read, range(seen, total, config.batch_size)) as batches,
        Progress("train re-ID", total, start=seen, visible=session.is_main) as progress,
    ):
        for batch in batches:
            epoch = seen / len(images)
            frozen = epoch < config.schedule.freeze
            model.train()
            model.backbone.train(not frozen).requires_grad_(not frozen)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * schedule(epoch, config.epochs, config.schedule)
            optimizer.zero_grad(set_to_none=True)
            for micro, (pixels, people) in with_one_update(
                model, list(zip(shard, batch, strict=True))
            ):
                session.seed_step(seen, micro)
                x, y = (t.to(session.device, non_blocking=True) for t in (pixels, people))
                x = augment(x.permute(0, 3, 1, 2)).float().div_(127.5).sub_(1.0)
                if config.erasing:
                    x = erase(x, config.erasing)
                with session.autocast():
                    embedding = model.before_norm(x)
                    logits = model.classify(embedding).float()
                terms = losses(logits, embedding.float(), y)
                loss = torch.stack(list(terms.values())).sum()
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                hits = (logits.argmax(dim=1) == y).float().mean()
                sums = sums + torch.stack([*terms.values(), hits, torch.ones_like(hits)]).detach()
            trained = [*model.parameters(), *losses.parameters()]
            session.average_gradients(trained, len(shard), scaled=scaler.is_enabled())
            losses.step(scaler.get_scale())
            scaler.step(optimizer)
            scaler.update()

            seen += config.batch_size
            step = seen // config.batch_size
            done = seen == total
            if done or step % math.ceil(steps / POINTS) == 0:
                assert isinstance(sums, Tensor)
                sums = session.mean({"sums": sums})["sums"]
                *means, accuracy = (sums[:-1] / sums[-1]).tolist()
                if not math.isfinite(sum(means)):
                    raise UserError(
                        f"the re-ID loss is no longer finite at {seen} images; "
                        "lower reid.learning_rate (with reid.precision fp16, try bf16 or no)"
                    )
                seconds = time.monotonic() - clock
                curve = {
                    "loss": sum(means),
                    "accuracy": accuracy,
                    "learning_rate": optimizer.param_groups[0]["lr"],
                }
                if len(means) > 1:
                    curve |= dict(zip(terms, means, strict=True))
                history.append({"images": float(seen), **curve})
                rates = {
                    "images_per_second": (seen - clock_seen) / seconds,
                    "data_wait": batches.waited / seconds,
                }
                points.append((curve | rates, seen))
                sums, clock, clock_seen, batches.waited = 0.0, time.monotonic(), seen, 0.0
                note = f"loss {curve['loss']:.3f}, accuracy {curve['accuracy']:.2f}"
            progress.advance(config.batch_size, note)

            began = time.monotonic()
            if validate and (done or step % between == 0):
                session.average_buffers(model)
                if session.is_main:
                    scores = validate(model.eval())
                    measured = {f"validation_{k}": float(v) for k, v in scores.items()}
                    points.append((measured, seen))
                    if not history or history[-1]["images"] != seen:
                        history.append({"images": float(seen)})
                    history[-1] |= measured
                    if best is None or not scores[CRITERION] < best["score"]:
                        weights = model.state_dict()
                        copy = {k: t.detach().to("cpu", copy=True) for k, t in weights.items()}
                        best = {"score": scores[CRITERION], "images_seen": seen, "model": copy}
                session.wait()
            if done or crossed(seen, config.batch_size, config.checkpoint_images):
                session.average_buffers(model)
                session.check_replicas(
                    model=model, losses=losses, optimizer=optimizer, scaler=scaler
                )
                if isinstance(sums, Tensor):
                    sums = session.mean({"sums": sums})["sums"]
                if session.is_main:
                    resume.save(
                        {
                            "classes": classes,
                            "model": model.state_dict(),
                            "losses": losses.state_dict(),
                            "optimizer": optimizer.state_dict(),
                            "scaler": scaler.state_dict(),
                            "sums": sums,
                            "best": best,
                            "history": history,
                            "images_seen": seen,
                        }
                    )
                    for values, at in points:
                        tracker.metrics(values, step=at)
                points.clear()
                session.wait()
            clock += time.monotonic() - began  # the rate is that of training alone
    if best and session.is_main:
        say(f"kept the weights at {best['images_seen']} images: {CRITERION} {best['score']:.4f}")
        model.load_state_dict(best["model"])
    session.broadcast(model)
    return model.eval(), history


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


def pinned(images: Images, labels: np.ndarray[Any, Any], device: torch.device) -> MicroBatch:
    """As tensors, for CUDA in pinned memory, from which the copy to the device does not block."""
    tensors = torch.from_numpy(images), torch.from_numpy(labels)
    return (tensors[0].pin_memory(), tensors[1].pin_memory()) if device.type == "cuda" else tensors


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
