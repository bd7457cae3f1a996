"""Training of the encoder on real images of the training split."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lookalike.config import EncoderConfig
from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.inversion.encoder import Encoder, new_encoder
from lookalike.inversion.losses import Features, InversionLoss
from lookalike.progress import Progress
from lookalike.stylegan3.generator import Generator
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.sampler import ShuffledSampler
from lookalike.training.session import Session, crossed, derive_seed, steps_for

CURVE_POINTS = 50  # per training run


def train_encoder(
    config: EncoderConfig,
    images: Images,
    generator: Generator,
    *,
    perceptual: nn.Module,
    identity: Features,
    session: Session,
    resume: ResumeState,
    tracker: Tracker,
) -> Encoder:
    """Train until `config.total_images` were seen; a killed run goes on where it was.

    The last state is kept too: a kill between the training and the writing of its result, which is
    the caller's, repeats nothing. Then the caller discards it.

    Each batch takes all of ReStyle's refinement steps, with the loss and its gradient at each of
    them, then one optimiser step.

    Args:
        config: the encoder's section of the parameters.
        images: uint8 [N, H, W, 3] at the generator's size, training split only.
        generator: frozen here.
        perceptual: LPIPS, see `losses.lpips_loss`.
        identity: re-ID features of images in [-1, 1], see `reid.model`.
        session: process, device and seed.
        resume: where the state is kept between checkpoints.
        tracker: gets the mean of each term of the last refinement step, and `loss` over all steps.

    Raises:
        ValueError: the images have another size than the generator's canvas.
        UserError: batches do not divide; the loss is no longer finite.
    """
    canvas = (generator.config.height, generator.config.width)
    if images.shape[1:3] != canvas:
        raise ValueError(f"images are {images.shape[1:3]}, the generator draws {canvas}; resize")
    torch.manual_seed(derive_seed(session.seed, "encoder"))
    encoder = new_encoder(config, generator.to(session.device))
    network = encoder.network.train()
    session.broadcast(network)
    perceptual.to(session.device)
    loss = InversionLoss(config, encoder.w_avg, perceptual, identity)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
    scaler = session.loss_scaler()
    sampler = ShuffledSampler(len(images), session.seed)
    shard = session.shard(config.batch_size, config.micro_batch)

    seen = 0
    if state := resume.load():
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        seen = int(state["images_seen"])

    total = steps_for(config.total_images, config.batch_size) * config.batch_size
    curve = _Curve(tracker, max(total // CURVE_POINTS, 1))
    with Progress("train encoder", total, start=seen, visible=session.is_main) as progress:
        while seen < total:
            batch = sampler.indices(seen, config.batch_size).reshape(-1, config.micro_batch)
            optimizer.zero_grad(set_to_none=True)
            losses = []
            for micro in shard:
                session.seed_step(seen, micro, "mirror")
                real = to_tensor(_mirrored(images[batch[micro]]), session.device)
                terms = _accumulate(encoder, loss, real, session, scaler)
                curve.add(terms)
                losses.append(terms["loss"])
            session.average_gradients(network.parameters(), len(shard), scaled=scaler.is_enabled())
            scaler.step(optimizer)
            scaler.update()

            seen += config.batch_size
            mean = float(session.mean({"loss": torch.stack(losses).mean()})["loss"])
            if not math.isfinite(mean):  # before anything is saved
                raise UserError(
                    f"the encoder's loss is no longer finite at {seen} images; lower "
                    "encoder.learning_rate (with encoder.precision fp16, try bf16 or no)"
                )
            progress.advance(config.batch_size, f"loss {mean:.3f}")
            curve.write(seen, session)
            if seen == total or crossed(seen, config.batch_size, config.checkpoint_images):
                session.check_replicas(encoder=network, optimizer=optimizer, scaler=scaler)
                if session.is_main:
                    resume.save(
                        {
                            "network": network.state_dict(),
                            "optimizer": optimizer.state_dict(),
                            "scaler": scaler.state_dict(),
                            "images_seen": seen,
                        }
                    )
                session.wait()
    network.eval()
    return encoder


def _accumulate(
    encoder: Encoder,
    loss: InversionLoss,
    real: Tensor,
    session: Session,
    scaler: GradScaler,
) -> dict[str, Tensor]:
    """Add one micro-batch's gradient; the terms of the last step and the mean `loss`."""
    with session.autocast():
        target = loss.target(real)
    losses = []
    terms: dict[str, Tensor] = {}
    steps = encoder.refinements(real)
    for _ in range(encoder.steps):
        with session.autocast():
            ws, reconstructions = next(steps)
            terms = loss(real, target, reconstructions, ws)
        scaler.scale(terms["loss"] / encoder.steps).backward()  # type: ignore[no-untyped-call]
        losses.append(terms["loss"].detach())
    return {name: value.detach() for name, value in terms.items()} | {
        "loss": torch.stack(losses).mean()
    }


def _mirrored(images: Images) -> Images:
    """Flip each image left to right with probability one half (ReStyle's only augmentation)."""
    flip = torch.rand(len(images)).lt(0.5).numpy()
    return np.where(flip[:, None, None, None], images[:, :, ::-1], images)


class _Curve:
    """Averages terms over a stretch of images and hands them to the tracker."""

    def __init__(self, tracker: Tracker, interval: int):
        self.tracker, self.interval = tracker, interval
        self.terms: list[dict[str, Tensor]] = []
        self.since = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        self.terms.append(terms)

    def write(self, seen: int, session: Session) -> None:
        if seen - self.since < self.interval:
            return
        mean = {key: torch.stack([t[key] for t in self.terms]).mean() for key in self.terms[0]}
        mean = session.mean(mean)
        if session.is_main:
            self.tracker.metrics({key: float(value) for key, value in mean.items()}, step=seen)
        self.terms, self.since = [], seen
