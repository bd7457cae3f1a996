"""Training of the re-ID network: cross-entropy over persons, as in the study.

AdamW with one cosine schedule serves both ImageNet weights and training from scratch. Everything
counts in images seen, so that the schedule does not depend on the number of processes, and each
micro-batch's randomness depends on nothing else, so that a killed run continues exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lookalike.config import ReidConfig
from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.progress import Progress, say
from lookalike.reid.model import ReidNet, load_imagenet, new_reid
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.sampler import ShuffledSampler
from lookalike.training.session import Session, crossed, derive_seed, steps_for

POINTS = 60  # of each curve
VALIDATIONS = 4  # evenly spread, the last one at the end
WARM_UP = 0.1  # share of the images
CROP_SHARE = 16  # crops move by up to height / CROP_SHARE pixels in each direction

Validate = Callable[[ReidNet], dict[str, float]]


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
) -> ReidNet:
    """Train for `config.epochs` passes over all images; a killed run goes on where it was.

    Batch statistics are per micro-batch. The running ones are averaged over the processes before
    each validation and checkpoint and at the end.

    Args:
        config: the re-ID section of the parameters.
        images: uint8 [N, height, width, 3], real and generated ones alike.
        persons: the person id of each image; the sorted ids are the classes.
        session: process, device and seed.
        resume: where the state is kept; the caller discards it after writing the model.
        tracker: gets `loss`, `accuracy`, `learning_rate` and `images_per_second`, and what
            `validate` returns, with the images seen as step. Points are handed over right after
            a checkpoint, so that a resumed run repeats none.
        initial: torchvision's ResNet50 state dict, or None to start from scratch.
        validate: called on the main process with the network in evaluation mode.

    Returns:
        The network in evaluation mode, the same on every process.

    Raises:
        ValueError: images and persons do not fit together or have another size than `config`'s.
        UserError: fewer than two persons; batches do not divide; the loss is no longer finite.
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
    labels = torch.tensor([number[person] for person in persons])

    torch.manual_seed(derive_seed(session.seed, "reid"))
    model = new_reid(config, len(classes))
    if initial is not None:
        report = load_imagenet(model, initial)
        if session.is_main:
            say(report)
    model.to(session.device)
    session.broadcast(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    sampler = ShuffledSampler(len(images), derive_seed(session.seed, "reid"))
    shard = session.shard(config.batch_size, config.micro_batch)
    steps = steps_for(config.epochs * len(images), config.batch_size)
    total = steps * config.batch_size

    seen = 0
    sums = torch.zeros(3, device=session.device)  # since the last point: loss, hits, images
    if state := resume.load(session.device):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        sums.copy_(state["sums"])
        seen = int(state["images_seen"])

    points: list[tuple[dict[str, float], int]] = []
    clock, clock_seen, note = time.monotonic(), seen, ""
    with Progress("train re-ID", total, start=seen, visible=session.is_main) as progress:
        while seen < total:
            model.train()
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * schedule(seen / total)
            optimizer.zero_grad(set_to_none=True)
            batch = sampler.indices(seen, config.batch_size).reshape(-1, config.micro_batch)
            for micro in shard:
                session.seed_step(seen, micro)
                x = augment(to_tensor(images[batch[micro]], session.device))
                y = labels[batch[micro]].to(session.device)
                with session.autocast():
                    logits = model(x).float()
                loss = nn.functional.cross_entropy(logits, y)
                loss.backward()  # type: ignore[no-untyped-call]
                hits = (logits.argmax(dim=1) == y).sum()
                sums += torch.stack([loss.detach() * len(y), hits, y.new_tensor(len(y))])
            session.average_gradients(model.parameters(), len(shard))
            optimizer.step()

            seen += config.batch_size
            step = seen // config.batch_size
            done = seen == total
            if done or step % math.ceil(steps / POINTS) == 0:
                sums = session.mean({"sums": sums})["sums"]
                loss_sum, hit_sum, count = sums.tolist()
                sums.zero_()
                if not math.isfinite(loss_sum):
                    raise UserError(
                        f"the re-ID loss is no longer finite at {seen} images; "
                        "lower reid.learning_rate"
                    )
                curve = {
                    "loss": loss_sum / count,
                    "accuracy": hit_sum / count,
                    "learning_rate": optimizer.param_groups[0]["lr"],
                    "images_per_second": (seen - clock_seen) / (time.monotonic() - clock),
                }
                points.append((curve, seen))
                clock, clock_seen = time.monotonic(), seen
                note = f"loss {curve['loss']:.3f}, accuracy {curve['accuracy']:.2f}"
            progress.advance(config.batch_size, note)

            if validate and (done or step % math.ceil(steps / VALIDATIONS) == 0):
                session.average_buffers(model)
                if session.is_main:
                    points.append((validate(model.eval()), seen))
                session.wait()
                clock, clock_seen = time.monotonic(), seen
            if done or crossed(seen, config.batch_size, config.checkpoint_images):
                session.average_buffers(model)
                session.check_replicas(model=model)
                sums = session.mean({"sums": sums})["sums"]
                if session.is_main:
                    resume.save(
                        {
                            "model": model.state_dict(),
                            "optimizer": optimizer.state_dict(),
                            "sums": sums,
                            "images_seen": seen,
                        }
                    )
                    for values, at in points:
                        tracker.metrics(values, step=at)
                points.clear()
                session.wait()
                clock, clock_seen = time.monotonic(), seen
    return model.eval()


def schedule(progress: float) -> float:
    """Factor of the learning rate after a share of the images: linear warm-up, then half a cosine.

    (Loshchilov and Hutter 2017; Goyal et al. 2017.) The first step has a small rate, not none.
    """
    if progress < WARM_UP:
        return 0.01 + 0.99 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


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
