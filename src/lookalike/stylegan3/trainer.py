"""Training StyleGAN3 (Karras et al. 2020, 2021): the step, and what it needs.

Non-saturating logistic loss, R1 every `r1_interval` steps, Adam corrected for the lazy
regulariser, an averaged generator; optionally adaptive augmentation, and config R's blur at the
start. No style mixing and no path-length regularisation: StyleGAN3 has dropped both.

Run it again after a kill and it continues exactly; see `training.loop`. Images, latents and
augmentations are drawn for the global batch, and micro-batch m of k takes the samples m, m + k, ...
of it. The discriminator's groups (MinibatchStd: samples a quarter of the batch apart) are then the
same in micro-batches of any multiple of four, and accumulating equals the batch at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lookalike.config import GanConfig
from lookalike.data.loading import Images, scale_pixels
from lookalike.stylegan3.classes import Labels
from lookalike.stylegan3.critic import Critic, Samples, StyleganCritic
from lookalike.stylegan3.gan import Gan
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.projected_critic import ProjectedCritic
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.curves import Curves
from lookalike.training.ema import half_life_beta, update_average
from lookalike.training.loop import History, Loop
from lookalike.training.prefetch import pinned
from lookalike.training.sampler import ShuffledSampler
from lookalike.training.session import Session, Stateful, crossed

LOSSES = {
    "stylegan": ("loss_discriminator",),
    "projected": ("loss_projected",),
    "both": ("loss_discriminator", "loss_projected"),
}
POINT_STEPS = 10  # steps between two points of the curves
EMA_RAMP_UP = 0.05  # of the images seen (Karras et al. 2020); switched off in transfer learning

Snapshot = Callable[[Generator, int], dict[str, float]]
Reals = list[list[Tensor]]  # of each micro-batch: uint8 [N, H, W, 3], and where there are, labels


def train_gan(
    config: GanConfig,
    gan: Gan,
    images: Images,
    *,
    labels: Labels | None = None,
    session: Session,
    resume: ResumeState,
    tracker: Tracker,
    snapshot: Snapshot | None = None,
    transferred: bool = False,
) -> History:
    """Train `gan` in place on `images` and return the history of snapshots.

    Args:
        config: sizes, rates and lengths.
        gan: the networks, initialised or transferred.
        images: uint8 [N, config.height, config.width, 3], the train split only.
        labels: of the images [N], for conditional networks only.
        session: this process.
        resume: where to continue from, and where to save.
        tracker: receives losses, R1, signs of the logits, gradient norms, speed, memory and the
            snapshot's metrics; see `training.loop`.
        snapshot: measures the averaged generator at (generator, images seen). Every process calls
            it, and shares the work; the main one's result counts.
        transferred: the networks come from a checkpoint, so averaging needs no ramp-up, and
            config R no blur.

    Raises:
        UserError: the batch does not divide, or the losses are no longer finite.
    """
    loop = Loop(
        "train_gan",
        images=config.total_images,
        batch_size=config.batch_size,
        session=session,
        resume=resume,
        tracker=tracker,
        point_steps=POINT_STEPS,
        checkpoint_images=config.checkpoint_images,
        shown=("loss_generator", *LOSSES[config.discriminator]),
        remedy="lower gan.generator_lr and gan.discriminator_lr (with gan.precision bf16 or fp16, "
        "try fp32)",
    )
    for network in (gan.generator, gan.discriminator, gan.average, gan.projected):
        if network is not None:
            session.broadcast(network.to(session.device).requires_grad_(False))
    blurred = config.config == "r" and not transferred
    critics: list[Critic] = []
    if config.discriminator != "projected":
        critics.append(StyleganCritic(config, gan.discriminator, session, blurred=blurred))
    if gan.projected is not None:
        critics.append(ProjectedCritic(config, gan.projected, session))
    training = GanTraining(
        config,
        gan,
        critics,
        images,
        labels,
        session=session,
        curves=loop.curves,
        ramp_up=0.0 if transferred else EMA_RAMP_UP,
    )
    # The own discriminator is written with the generator, trained or not.
    loop.register({"discriminator": gan.discriminator} | training.parts())
    loop.run(
        training.step,
        training.read,
        measure=None if snapshot is None else lambda seen: snapshot(gan.average, seen),
        due=lambda seen: seen == 0 or crossed(seen, config.batch_size, config.snapshot_images),
    )
    return loop.measurements


class GanTraining:
    """A training step of a generator and its critics.

    Args:
        config: sizes and rates.
        gan: the networks, on the device.
        critics: what the generator is trained against.
        images, labels: as of `train_gan`.
        session: this process.
        curves: get what a step measures.
        ramp_up: of the averaged generator, as of `half_life_beta`.
    """

    def __init__(
        self,
        config: GanConfig,
        gan: Gan,
        critics: Sequence[Critic],
        images: Images,
        labels: Labels | None,
        *,
        session: Session,
        curves: Curves,
        ramp_up: float,
    ):
        self.config, self.session, self.curves, self.ramp_up = config, session, curves, ramp_up
        self.generator, self.average, self.critics = gan.generator, gan.average, critics
        self.generator_optimizer = torch.optim.Adam(
            gan.generator.parameters(), lr=config.generator_lr, betas=(0.0, 0.99), eps=1e-8
        )
        assert (labels is not None) == (gan.generator.config.c_dim > 0)
        self.images, self.labels = images, labels
        self.known = None if labels is None else torch.from_numpy(labels).to(session.device)
        # Mirroring doubles the set: positions from len(images) on are the flipped ones.
        self.sampler = ShuffledSampler(len(images) * (2 if config.mirror else 1), session.seed)
        # The samples of the global batch that each of this process' micro-batches takes.
        shard = session.shard(config.batch_size, config.micro_batch)
        count = config.batch_size // config.micro_batch
        self.micro_batches = [slice(number, None, count) for number in shard]
        self.images_seen = 0

    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        parts: dict[str, Stateful] = {
            "generator": self.generator,
            "average": self.average,
            "g_optimizer": self.generator_optimizer,
        }
        for critic in self.critics:
            parts |= critic.parts()
        return parts

    def read(self, start: int) -> Reals:
        """The reals of this process' micro-batches, of the batch that starts at image `start`."""
        indices = self.sampler.indices(start, self.config.batch_size)
        which, flipped = indices % len(self.images), indices >= len(self.images)

        def micro_batch(part: slice) -> list[Tensor]:
            pixels = self.images[which[part]]
            pixels = np.where(flipped[part, None, None, None], pixels[:, :, ::-1], pixels)
            labels = () if self.labels is None else (self.labels[which[part]],)
            return pinned(self.session.device, pixels, *labels)

        return [micro_batch(part) for part in self.micro_batches]

    def step(self, reals: Reals, images_seen: int) -> None:
        """The generator's step, the critics', and the average moves towards the generator."""
        self.images_seen = images_seen
        self.train_generator()
        measured = self.train_critics(reals)
        for critic in self.critics:
            interval = critic.penalty_interval
            if interval and images_seen // self.config.batch_size % interval == 0:
                self.regularise(critic, reals)
        for critic, means in zip(self.critics, measured, strict=True):
            self.curves.noted |= critic.finish_step(means)
        beta = half_life_beta(
            self.config.batch_size,
            images_seen + self.config.batch_size,
            self.config.ema_half_life,
            self.ramp_up,
        )
        update_average(self.average, self.generator, beta)

    def train_generator(self) -> None:
        """Make the critics call fakes real."""
        self.generator.requires_grad_(True)
        self.generator_optimizer.zero_grad()
        self.session.seed_step(self.images_seen, 0, "generator")
        z, labels = self.latents(), self.classes()
        views = [critic.draw_views(self.images_seen) for critic in self.critics]
        for part in self.micro_batches:
            with self.session.autocast():
                fakes = self.fakes(z, labels, part)
                losses = [
                    critic.weight * critic.generator_loss(fakes, view(part))
                    for critic, view in zip(self.critics, views, strict=True)
                ]
            loss = torch.stack(losses).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            self.curves.add(loss_generator=loss)
            if len(losses) > 1:
                names = [f"loss_generator_{critic.name}" for critic in self.critics]
                self.curves.add(**dict(zip(names, losses, strict=True)))
        self.generator.requires_grad_(False)
        parameters = list(self.generator.parameters())
        self.session.average_gradients(parameters, len(self.micro_batches))
        self.curves.add_gradient_norm(parameters, "gradient_norm_generator")
        self.generator_optimizer.step()

    def train_critics(self, reals: Reals) -> list[dict[str, Tensor]]:
        """Tell fakes from reals; returns what each critic measured, as means over the step.

        The generator's running statistics are gathered here, averaged over everything that this
        step saw, and applied once.
        """
        for critic in self.critics:
            critic.begin()
        count = len(self.micro_batches)
        statistics = MeanOver(count)
        measured = [MeanOver(count) for _ in self.critics]
        self.session.seed_step(self.images_seen, 0, "discriminator")
        z, labels = self.latents(), self.classes()
        views = [
            (critic.draw_views(self.images_seen), critic.draw_views(self.images_seen))
            for critic in self.critics
        ]
        for part, batch in zip(self.micro_batches, reals, strict=True):
            losses = []
            with self.session.autocast():
                with torch.no_grad():
                    fakes = self.fakes(z, labels, part, collect_statistics=True)
                real = self.samples(batch)
                for critic, means, (of_fakes, of_reals) in zip(
                    self.critics, measured, views, strict=True
                ):
                    loss, terms = critic.loss(real, fakes, of_reals(part), of_fakes(part))
                    losses.append(loss)
                    means.add(**terms)
                    self.curves.add(**{f"loss_{critic.name}": loss}, **terms)
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            statistics.add(**self.generator.pending_statistics())
        for critic in self.critics:
            critic.finish(self.session, count, self.curves, f"gradient_norm_{critic.name}")
        shared = self.session.mean(statistics.values)
        self.generator.apply_statistics(shared, self.config.batch_size)
        return [means.values for means in measured]

    def regularise(self, critic: Critic, reals: Reals) -> None:
        """A step of the critic on its penalty, with reals."""
        critic.begin()
        self.session.seed_step(self.images_seen, 0, "r1")
        view = critic.draw_views(self.images_seen)
        for part, batch in zip(self.micro_batches, reals, strict=True):
            loss, terms = critic.penalty(self.samples(batch), view(part))
            loss.backward()  # type: ignore[no-untyped-call]
            self.curves.add(**terms)
        critic.finish(
            self.session,
            len(self.micro_batches),
            self.curves,
            f"gradient_norm_{critic.name}_penalty",
        )

    def latents(self) -> Tensor:
        """Of the global batch."""
        shape = self.config.batch_size, self.config.z_dim
        return torch.randn(shape, device=self.session.device)

    def classes(self) -> Tensor | None:
        """Of the global batch of fakes; as frequent as among the reals."""
        if self.known is None:
            return None
        shape = (self.config.batch_size,)
        return self.known[torch.randint(len(self.known), shape, device=self.session.device)]

    def fakes(
        self, z: Tensor, labels: Tensor | None, part: slice, collect_statistics: bool = False
    ) -> Samples:
        """A micro-batch of generated images."""
        mine = None if labels is None else labels[part]
        made = self.generator(z[part], collect_statistics=collect_statistics, labels=mine)
        return Samples(made, mine)

    def samples(self, batch: list[Tensor]) -> Samples:
        """A micro-batch of reals, on the device."""
        pixels, *labels = (t.to(self.session.device, non_blocking=True) for t in batch)
        return Samples(scale_pixels(pixels), labels[0] if labels else None)


class MeanOver:
    """Means over a step's micro-batches, on the device.

    Attributes:
        values: the means, once every micro-batch has been added.
    """

    def __init__(self, micro_batches: int):
        self.micro_batches = micro_batches
        self.values: dict[str, Tensor] = {}

    def add(self, **values: Tensor) -> None:
        """Count in what one micro-batch measured."""
        for name, value in values.items():
            part = value.detach() / self.micro_batches
            self.values[name] = self.values[name] + part if name in self.values else part
