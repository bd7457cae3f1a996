"""Training of the encoder on real images of the training split: pairs of one person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.config import EncoderConfig
from lookalike.data.loading import Images, to_tensor
from lookalike.inversion.checkpoint import new_encoder
from lookalike.inversion.encoder import Encoder
from lookalike.inversion.losses import FeatureNetwork, InversionLoss
from lookalike.inversion.pairs import Pairs
from lookalike.seeds import derive_seed
from lookalike.stylegan3.generator import Generator
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.curves import Curves
from lookalike.training.loop import Loop
from lookalike.training.session import Session, Stateful, steps_for

POINTS = 50  # of each curve
SAME = 0.3  # share of pairs of an image with itself


def train_encoder(
    config: EncoderConfig,
    images: Images,
    persons: Sequence[str],
    generator: Generator,
    *,
    start: Path | None = None,
    perceptual: nn.Module,
    identity: FeatureNetwork,
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
        persons: of each image [N].
        generator: frozen here.
        start: the encoder to go on from.
        perceptual: see `losses.perceptual_loss`.
        identity: re-ID features of images in [-1, 1], see `reid.model`.
        session: process, device and seed.
        resume: where the state is kept between checkpoints.
        tracker: gets the mean of each term of the last refinement step, `loss` over all of them,
            and `gradient_norm`; see `training.loop`.

    Raises:
        ValueError: the images have another size than the generator's canvas.
        UserError: batches do not divide; the starting encoder does not fit; the loss is no longer
            finite.
    """
    canvas = (generator.config.height, generator.config.width)
    if images.shape[1:3] != canvas:
        raise ValueError(f"images are {images.shape[1:3]}, the generator draws {canvas}; resize")
    torch.manual_seed(derive_seed(session.seed, "encoder"))
    encoder = new_encoder(config, generator.to(session.device), start)
    session.broadcast(encoder.network.train())
    perceptual.to(session.device)
    steps = steps_for(config.total_images, config.batch_size)
    loop = Loop(
        "train encoder",
        images=config.total_images,
        batch_size=config.batch_size,
        session=session,
        resume=resume,
        tracker=tracker,
        point_steps=max(steps // POINTS, 1),
        checkpoint_images=config.checkpoint_images,
        shown=("loss",),
        remedy="lower encoder.learning_rate (with encoder.precision fp16, try bf16 or fp32)",
    )
    loss = InversionLoss(config, encoder.w_avg, perceptual, identity)
    # A ReStyle encoder is shown one image.
    labels = np.zeros(len(images), np.int64)
    same = SAME if config.structure_styles else 1.0
    pairs = Pairs(images, persons, labels, session.seed, same=same)
    training = EncoderTraining(config, encoder, loss, pairs, session=session, curves=loop.curves)
    loop.register(training.parts())
    loop.run(training.step, training.read)
    encoder.network.eval()
    return encoder


class EncoderTraining:
    """A training step of the encoder.

    Args:
        config: sizes and rates.
        encoder: on the device.
        loss: of reconstructions.
        pairs: to train on.
        session: this process.
        curves: get what a step measures.
    """

    def __init__(
        self,
        config: EncoderConfig,
        encoder: Encoder,
        loss: InversionLoss,
        pairs: Pairs,
        *,
        session: Session,
        curves: Curves,
    ):
        self.config, self.encoder, self.loss, self.pairs = config, encoder, loss, pairs
        self.session, self.curves = session, curves
        self.optimizer = torch.optim.Adam(encoder.network.parameters(), config.learning_rate)
        self.scaler = session.loss_scaler()
        self.shard = session.shard(config.batch_size, config.micro_batch)

    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        return {
            "encoder": self.encoder.network,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }

    def read(self, start: int) -> list[tuple[Images, Images]]:
        """This process' micro-batches of the batch that starts at image `start`."""
        size = self.config.micro_batch
        appearances, targets, _ = self.pairs.read(start, self.config.batch_size)
        parts = [slice(m * size, (m + 1) * size) for m in self.shard]
        return [(appearances[part], targets[part]) for part in parts]

    def step(self, batch: list[tuple[Images, Images]], images_seen: int) -> None:
        """All refinement steps on one batch, then one of the optimiser."""
        self.optimizer.zero_grad(set_to_none=True)
        for pair in batch:
            self.refine(*(to_tensor(images, self.session.device) for images in pair))
        parameters = list(self.encoder.network.parameters())
        scaled = self.scaler.is_enabled()
        self.session.average_gradients(parameters, len(self.shard), scaled=scaled)
        self.curves.add_gradient_norm(parameters, scaler=self.scaler)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def refine(self, appearances: Tensor, targets: Tensor) -> None:
        """Add one micro-batch's gradient; the curves get the last refinement's terms."""
        with self.session.autocast():
            identity = self.loss.target(targets)
        losses = []
        terms: dict[str, Tensor] = {}
        refinements = self.encoder.refinements(appearances, targets)
        for _ in range(self.encoder.steps):
            with self.session.autocast():
                ws, reconstructions = next(refinements)
                terms = self.loss(targets, identity, reconstructions, ws)
            scaled = self.scaler.scale(terms["loss"] / self.encoder.steps)
            scaled.backward()  # type: ignore[no-untyped-call]
            losses.append(terms["loss"].detach())
        self.curves.add(**terms | {"loss": torch.stack(losses).mean()})
