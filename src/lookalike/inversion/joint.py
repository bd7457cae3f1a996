"""Generator and encoder trained together, so that one draws what the other reads.

Two images of one person: the generator is to draw the second one from its structure and from the
appearance of the first (DG-Net, Zheng et al. 2019). Beside these reconstructions it draws
*crosses*, one person's appearance in another's structure, and persons from seeds; a discriminator
sees all three. What is read off a cross must be what it was drawn from.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike.config import GanConfig
from lookalike.data.loading import scale_pixels
from lookalike.inversion.codes import CodeNetwork, grey
from lookalike.inversion.losses import FeatureDistance
from lookalike.inversion.pairs import Pairs
from lookalike.stylegan3.critic import Samples, StyleganCritic
from lookalike.stylegan3.gan import Gan
from lookalike.stylegan3.trainer import MeanOver
from lookalike.training.curves import Curves
from lookalike.training.ema import half_life_beta, update_average
from lookalike.training.session import Session, Stateful

# Weights of the terms.
PIXELS, COLOURS, PERCEPTION, REALISM, CONSISTENCY = 4.0, 6.0, 2.0, 1.0, 0.5
COLOUR_CELL = 8  # side of the cells whose mean colours are compared, in pixels
# Times the generator's: the mapping learns at a hundredth of what it is given.
MAPPING_RATE = 10.0
ENCODER_RATE = 0.002


class Batch(NamedTuple):
    """A micro-batch of pairs, as `Pairs.read` makes it."""

    appearance: Tensor
    """uint8 [N, H, W, 3]: says who."""
    target: Tensor
    """uint8 [N, H, W, 3]: says how, and is what is to be drawn."""
    labels: Tensor
    """int64 [N], the targets' classes."""


@dataclass
class Joint:
    """The networks; the averaged ones are kept and used."""

    gan: Gan
    network: CodeNetwork
    average: CodeNetwork

    @classmethod
    def of(cls, gan: Gan, network: CodeNetwork) -> Joint:
        """With an average that starts at the network."""
        return cls(gan, network, copy.deepcopy(network).eval().requires_grad_(False))


class JointTraining:
    """A step of generator, encoder and discriminator.

    Args:
        config: rates and sizes.
        joint: the networks, on the device.
        pairs: images to read.
        session: this process.
        curves: get what a step measures.
    """

    def __init__(
        self, config: GanConfig, joint: Joint, pairs: Pairs, *, session: Session, curves: Curves
    ):
        self.config, self.joint, self.pairs = config, joint, pairs
        self.session, self.curves = session, curves
        self.generator, self.network = joint.gan.generator, joint.network
        synthesis = list(self.generator.synthesis.parameters())
        mapping = list(self.generator.mapping.parameters())
        encoder = list(self.network.parameters())
        self.optimizer = torch.optim.Adam(
            [
                {"params": synthesis, "lr": config.generator_lr},
                {"params": mapping, "lr": config.generator_lr * MAPPING_RATE},
                {"params": encoder, "lr": ENCODER_RATE, "betas": (0.9, 0.99)},
            ],
            betas=(0.0, 0.99),
            eps=1e-8,
        )
        self.trained: list[nn.Parameter] = [*synthesis, *mapping, *encoder]
        self.critic = StyleganCritic(config, joint.gan.discriminator, session, blurred=False)
        self.distance = FeatureDistance().to(session.device)
        self.shard = session.shard(config.batch_size, config.micro_batch)
        self.images_seen = 0

    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        return {
            "generator": self.generator,
            "average": self.joint.gan.average,
            "encoder": self.network,
            "encoder_average": self.joint.average,
            "optimizer": self.optimizer,
            **self.critic.parts(),
        }

    def read(self, start: int) -> list[Batch]:
        """This process' micro-batches of the batch that starts at image `start`."""
        batch = self.pairs.read(start, self.config.batch_size)
        size = self.config.micro_batch
        parts = [slice(number * size, (number + 1) * size) for number in self.shard]
        return [Batch(*(torch.from_numpy(array[part]) for array in batch)) for part in parts]

    def step(self, batches: list[Batch], images_seen: int) -> None:
        """One step of everything, and the averages move."""
        self.images_seen = images_seen
        drawn = self.train_generator(batches)
        self.train_critic(drawn)
        assert self.critic.penalty_interval is not None
        if images_seen // self.config.batch_size % self.critic.penalty_interval == 0:
            self.regularise(drawn)
        beta = half_life_beta(self.config.batch_size, images_seen, self.config.ema_half_life, 0.0)
        update_average(self.joint.gan.average, self.generator, beta)
        update_average(self.joint.average, self.network, beta)

    def train_generator(self, batches: list[Batch]) -> list[tuple[Samples, Samples]]:
        """A step of generator and encoder; returns each micro-batch's reals and fakes."""
        self.generator.requires_grad_(True)
        self.optimizer.zero_grad(set_to_none=True)
        drawn, statistics = [], MeanOver(len(batches))
        for number, batch in zip(self.shard, batches, strict=True):
            self.session.seed_step(self.images_seen, number, "joint")
            reals, fakes, loss = self.draw(Batch(*(t.to(self.session.device) for t in batch)))
            loss.backward()  # type: ignore[no-untyped-call]
            drawn.append((reals, fakes))
            statistics.add(**self.generator.pending_statistics())
        self.generator.requires_grad_(False)
        self.session.average_gradients(self.trained, len(batches))
        self.curves.add_gradient_norm(self.trained, "gradient_norm_generator")
        self.optimizer.step()
        self.generator.apply_statistics(
            self.session.mean(statistics.values), self.config.batch_size
        )
        return drawn

    def draw(self, batch: Batch) -> tuple[Samples, Samples, Tensor]:
        """Reals, fakes as the discriminator sees them, and what generator and encoder minimise."""
        appearances, targets = scale_pixels(batch.appearance), scale_pixels(batch.target)
        count, few = len(targets), len(targets) // 4
        centre = self.generator.mapping.w_avg
        weights = torch.distributions.Dirichlet(targets.new_ones(3)).sample((count,))
        structure = centre + self.network.structure(grey(targets, weights))
        appearance = centre + self.network.appearance(appearances)
        other = appearance.roll(count // 2, 0)[:few]

        codes = torch.cat([structure, appearance], dim=1)
        crossed = torch.cat([structure[:few], other], dim=1)
        z = torch.randn(few, self.config.z_dim, device=self.session.device)
        seeded = self.generator.mapping(z, labels=batch.labels[:few], collect_statistics=True)
        ws = torch.cat([codes, crossed, seeded])
        images = self.generator.synthesis(ws, collect_statistics=True)
        reconstructions, crosses = images[:count], images[count : count + few]
        # The discriminator sees as many fakes as reals.
        fakes = torch.cat([images[: count - 2 * few], images[count:]])
        labels = batch.labels
        fake_labels = torch.cat([labels[: count - 2 * few], labels[:few], labels[:few]])
        # Consistency does not move the encoder: that would make all codes alike, and colours faded.
        reader = self.joint.average
        terms = {
            "l1": F.l1_loss(reconstructions, targets),
            "colours": central_colours(reconstructions, targets),
            "perception": self.distance(reconstructions, targets).mean(),
            "realism": self.critic.generator_loss(Samples(fakes, fake_labels), as_they_are),
            "consistency": F.mse_loss(centre + reader.appearance(crosses), other.detach())
            + F.mse_loss(centre + reader.structure(grey(crosses)), structure[:few].detach()),
        }
        factors = PIXELS, COLOURS, PERCEPTION, REALISM, CONSISTENCY
        loss = torch.stack([f * t for f, t in zip(factors, terms.values(), strict=True)]).sum()
        self.curves.add(loss=loss, **terms)
        return Samples(targets, labels), Samples(fakes.detach(), fake_labels), loss

    def train_critic(self, drawn: list[tuple[Samples, Samples]]) -> None:
        """A step of the discriminator."""
        self.critic.begin()
        for reals, fakes in drawn:
            loss, terms = self.critic.loss(reals, fakes, as_they_are, as_they_are)
            loss.backward()  # type: ignore[no-untyped-call]
            self.curves.add(loss_discriminator=loss, **terms)
        self.critic.finish(self.session, len(drawn), self.curves, "gradient_norm_discriminator")

    def regularise(self, drawn: list[tuple[Samples, Samples]]) -> None:
        """A step of the discriminator on R1."""
        self.critic.begin()
        for reals, _ in drawn:
            loss, terms = self.critic.penalty(reals, as_they_are)
            loss.backward()  # type: ignore[no-untyped-call]
            self.curves.add(**terms)
        self.critic.finish(
            self.session, len(drawn), self.curves, "gradient_norm_discriminator_penalty"
        )


def as_they_are(images: Tensor) -> Tensor:
    """How the discriminator sees images: without augmentation."""
    return images


def central_colours(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of cells' mean colours in the middle half of the width.

    There the person is. Over the whole image most of a difference is the background's, and clothes
    take several times as long to be learnt.
    """
    quarter = x.shape[3] // 4
    of_x, of_y = (F.avg_pool2d(i[..., quarter:-quarter], COLOUR_CELL) for i in (x, y))
    return F.l1_loss(of_x, of_y)
