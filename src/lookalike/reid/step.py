"""A training step of the re-ID network by a recipe: what it sees, what it is taught, how fast."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lookalike.config import ReidConfig, ReidScheduleConfig
from lookalike.reid.augmentation import augment, erase
from lookalike.reid.batches import Batches, MicroBatch
from lookalike.reid.label_policies import LABELS
from lookalike.reid.losses import ReidLosses
from lookalike.reid.model import ReidNet
from lookalike.training.curves import Curves
from lookalike.training.session import Session, Stateful
from lookalike.training.statistics import with_one_update, without_update

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class ReidTraining:
    """What moves, and how it moves by one batch.

    Args:
        config: the recipe.
        model: on the device.
        batches: to train on.
        session: this process.
        curves: get what a step measures.

    Raises:
        UserError: the batches do not divide evenly among the processes.
    """

    def __init__(
        self,
        config: ReidConfig,
        model: ReidNet,
        batches: Batches,
        *,
        session: Session,
        curves: Curves,
    ):
        self.config, self.model, self.session, self.curves = config, model, session, curves
        self.batches, self.policy = batches, batches.policy
        classes, width = len(batches.targets.classes), model.embedding_dim
        self.losses = ReidLosses(config.loss, classes, width).to(session.device)
        self.optimizer = OPTIMIZERS[config.optimizer](
            model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.scaler = session.loss_scaler()
        self.shard = session.shard(config.batch_size, config.micro_batch)

    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        return {
            "model": self.model,
            "losses": self.losses,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }

    def read(self, start: int) -> list[MicroBatch]:
        """This process' share of the batch that starts at image `start`."""
        return self.batches.read(start, self.shard)

    def step(self, batch: list[MicroBatch], images_seen: int) -> None:
        """Lower the recipe's losses on one batch."""
        self.prepare(images_seen / self.batches.epoch)
        self.optimizer.zero_grad(set_to_none=True)
        numbered = list(zip(self.shard, batch, strict=True))
        for micro, waiting in with_one_update(self.model, numbered):
            self.session.seed_step(images_seen, micro)
            self._learn(waiting.to(self.session.device))
        trained = [*self.model.parameters(), *self.losses.parameters()]
        scaled = self.scaler.is_enabled()
        self.session.average_gradients(trained, len(self.shard), scaled=scaled)
        self.curves.add_gradient_norm(self.model.parameters(), scaler=self.scaler)
        self.losses.step(self.scaler.get_scale())
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _learn(self, seen: MicroBatch) -> None:
        """Add the gradients of one micro-batch."""
        logits, embedding = self._both_parts(seen)
        distributions = seen.distributions
        if LABELS[self.policy.label].another_view and seen.unlabelled:
            distributions = self._other_view(seen, logits)
        weights = None
        if seen.generated is not None:
            weights = torch.where(seen.generated, self.policy.weight, 1.0)
        terms = self.losses(logits, embedding, seen.labels, weights, distributions)
        loss = torch.stack(list(terms.values())).sum()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        labelled = (seen.labels >= 0).sum().clamp(min=1)
        accuracy = (logits.argmax(dim=1) == seen.labels).float().sum() / labelled
        self.curves.add(loss=loss, accuracy=accuracy, **(terms if len(terms) > 1 else {}))

    def _both_parts(self, seen: MicroBatch) -> tuple[Tensor, Tensor]:
        """Logits and embeddings; the images that stand apart are normalised by themselves."""
        if not seen.apart:
            return self._view(seen.images)
        # The others first, so that their views are the same with and without.
        parts = [self._view(seen.images[: -seen.apart])]
        with without_update(self.model):
            parts.append(self._view(seen.images[-seen.apart :]))
        logits, embeddings = zip(*parts, strict=True)
        return torch.cat(logits), torch.cat(embeddings)

    @torch.no_grad()
    def _other_view(self, seen: MicroBatch, logits: Tensor) -> Tensor:
        """What the model takes another view of the images for, normalised among the same images.

        Rows of zeros for those that were left out because they are not apart.
        """
        images = seen.images[-seen.apart :]  # all of them, if none is apart
        with without_update(self.model):
            other, _ = self._view(images)
        rows = torch.zeros_like(logits)
        rows[-len(images) :] = other.softmax(dim=1)
        return rows

    def _view(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and embeddings of a random view of uint8 images [N, H, W, 3]."""
        x = augment(images.permute(0, 3, 1, 2)).float().div_(127.5).sub_(1.0)
        if self.config.erasing:
            x = erase(x, self.config.erasing)
        with self.session.autocast():
            embedding = self.model.before_norm(x)
            logits = self.model.classify(embedding)
        return logits.float(), embedding.float()

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
