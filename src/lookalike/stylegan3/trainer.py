"""Training StyleGAN3 (Karras et al. 2020, 2021) in one loop that reads from top to bottom.

Non-saturating logistic loss, R1 every `r1_interval` steps, Adam corrected for the lazy
regulariser, an averaged generator; optionally adaptive augmentation, and config R's blur at the
start. No style mixing and no path-length regularisation: StyleGAN3 has dropped both.

Run it again after a kill and it continues exactly; see `training.session`. Images, latents and
augmentations are drawn for the global batch, and micro-batch m of k takes the samples m, m + k, ...
of it. The discriminator's groups (MinibatchStd: samples a quarter of the batch apart) are then the
same in micro-batches of any multiple of four, and accumulating equals the batch at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from lookalike.config import GanConfig
from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.progress import Progress
from lookalike.stylegan3.augment import Adaptation, Augment, Strengths
from lookalike.stylegan3.blur import blur, startup_sigma
from lookalike.stylegan3.classes import Labels
from lookalike.stylegan3.gan import Gan
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.loss import discriminator_loss, generator_loss, r1_penalty
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.ema import half_life_beta, update_average
from lookalike.training.sampler import ShuffledSampler
from lookalike.training.session import Session, crossed, steps_for

LOG_EVERY = 10  # steps between two points of the loss curves
EMA_RAMP_UP = 0.05  # of the images seen (Karras et al. 2020); switched off in transfer learning

Snapshot = Callable[[Generator, int], dict[str, float]]


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
) -> list[dict[str, float]]:
    """Train `gan` in place on `images` and return the history of snapshots.

    Args:
        config: sizes, rates and lengths.
        gan: the networks, initialised or transferred.
        images: uint8 [N, config.height, config.width, 3], the train split only.
        labels: of the images [N], for conditional networks only.
        session: this process.
        resume: where to continue from, and where to save.
        tracker: receives losses, R1, signs of the logits, speed and the snapshot's metrics.
        snapshot: measures the averaged generator at (generator, images seen). Every process calls
            it, and shares the work; the main one's result counts.
        transferred: the networks come from a checkpoint, so averaging needs no ramp-up, and
            config R no blur.

    Raises:
        UserError: the batch does not divide, or the losses are no longer finite.
    """
    micro_batches = session.shard(config.batch_size, config.micro_batch)
    generator = gan.generator.to(session.device).requires_grad_(False)
    discriminator = gan.discriminator.to(session.device).requires_grad_(False)
    average = gan.average.to(session.device)
    for network in (generator, discriminator, average):
        session.broadcast(network)
    g_optimizer = torch.optim.Adam(
        generator.parameters(), lr=config.generator_lr, betas=(0.0, 0.99), eps=1e-8
    )
    # Lazy regularisation: rate and decays of the steps between two R1 steps (Karras et al. 2020).
    lazy = config.r1_interval / (config.r1_interval + 1)
    d_optimizer = torch.optim.Adam(
        discriminator.parameters(),
        lr=config.discriminator_lr * lazy,
        betas=(0.0, 0.99**lazy),
        eps=1e-8,
    )
    trained_d = list(discriminator.trainable_parameters(config.freeze_discriminator))
    # Mirroring doubles the set: positions from len(images) on are the flipped ones.
    sampler = ShuffledSampler(len(images) * (2 if config.mirror else 1), session.seed)
    assert (labels is not None) == (generator.config.c_dim > 0)
    known = None if labels is None else torch.from_numpy(labels).to(session.device)

    adaptation = augment = None
    if config.ada is not None:
        adaptation = Adaptation(config.ada, config.batch_size)
        augment = Augment(config.height, config.width, config.ada.transforms).to(session.device)
    blurred = config.config == "r" and not transferred

    images_seen, history = 0, list[dict[str, float]]()
    state = resume.load()
    if state is not None:
        generator.load_state_dict(state["generator"])
        discriminator.load_state_dict(state["discriminator"])
        average.load_state_dict(state["average"])
        g_optimizer.load_state_dict(state["g_optimizer"])
        d_optimizer.load_state_dict(state["d_optimizer"])
        if adaptation is not None:
            adaptation.load_state_dict(state["adaptation"])
        images_seen, history = state["images_seen"], state["history"]

    def part(micro_batch: int) -> slice:
        """The samples of the global batch that are in a micro-batch."""
        return slice(micro_batch, None, config.batch_size // config.micro_batch)

    def reals(micro_batch: int) -> tuple[Tensor, Tensor | None]:
        indices = sampler.indices(images_seen, config.batch_size)[part(micro_batch)]
        batch = to_tensor(images[indices % len(images)], session.device)
        flipped = torch.from_numpy(indices >= len(images)).to(session.device)
        batch = torch.where(flipped[:, None, None, None], batch.flip(3), batch)
        return batch, None if known is None else known[torch.from_numpy(indices % len(images))]

    def latents() -> Tensor:
        """Of the global batch."""
        return torch.randn(config.batch_size, config.z_dim, device=session.device)

    def classes() -> Tensor | None:
        """Of the global batch of fakes; as frequent as among the reals."""
        if known is None:
            return None
        return known[torch.randint(len(known), (config.batch_size,), device=session.device)]

    def fakes(
        z: Tensor, drawn: Tensor | None, micro_batch: int, collect_statistics: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """A micro-batch of generated images and their labels."""
        mine = None if drawn is None else drawn[part(micro_batch)]
        made = generator(z[part(micro_batch)], collect_statistics=collect_statistics, labels=mine)
        return made, mine

    def augmentation() -> Strengths:
        """Of the global batch; none that change nothing."""
        if augment is None or adaptation is None or adaptation.p <= 0:
            return {}
        return augment.draw(config.batch_size, adaptation.p, session.device)

    def judge(
        images: Tensor, labels: Tensor | None, strengths: Strengths, micro_batch: int
    ) -> Tensor:
        """Logits [N, 1] of images [N, 3, H, W] as the discriminator gets to see them."""
        if blurred:
            images = blur(images, startup_sigma(images_seen, config.batch_size))
        if augment is not None and strengths:
            mine = {name: values[part(micro_batch)] for name, values in strengths.items()}
            images = augment(images, mine)
        logits: Tensor = discriminator(images, labels)
        return logits

    def measure() -> None:
        metrics = snapshot(average, images_seen) if snapshot is not None else {}
        if metrics and session.is_main:
            history.append({"images": float(images_seen), **metrics})
            tracker.metrics(metrics, step=images_seen)
        session.wait()

    total = steps_for(config.total_images, config.batch_size) * config.batch_size
    if images_seen == 0:
        measure()
    step_began, note = time.monotonic(), ""
    with Progress("train_gan", total, start=images_seen, visible=session.is_main) as progress:
        while images_seen < total:
            step = images_seen // config.batch_size
            logged = MeanOver(len(micro_batches))

            # Generator: make the discriminator call fakes real.
            generator.requires_grad_(True)
            g_optimizer.zero_grad()
            session.seed_step(images_seen, 0, "generator")
            z, drawn, strengths = latents(), classes(), augmentation()
            for micro_batch in micro_batches:
                with session.autocast():
                    generated = fakes(z, drawn, micro_batch)
                    logits = judge(*generated, strengths, micro_batch)
                loss = generator_loss(logits.float())
                loss.backward()  # type: ignore[no-untyped-call]
                logged.add(loss_generator=loss)
            generator.requires_grad_(False)
            session.average_gradients(generator.parameters(), len(micro_batches))
            g_optimizer.step()

            # Discriminator: tell fakes from reals. The generator's running statistics are
            # gathered here, averaged over everything that this step saw, and applied once.
            for parameter in trained_d:
                parameter.requires_grad_(True)
            d_optimizer.zero_grad()
            statistics = MeanOver(len(micro_batches))
            session.seed_step(images_seen, 0, "discriminator")
            z, drawn = latents(), classes()
            of_fakes, of_reals = augmentation(), augmentation()
            for micro_batch in micro_batches:
                with session.autocast():
                    with torch.no_grad():
                        generated = fakes(z, drawn, micro_batch, collect_statistics=True)
                    fake_logits = judge(*generated, of_fakes, micro_batch).float()
                    real_logits = judge(*reals(micro_batch), of_reals, micro_batch).float()
                loss = discriminator_loss(real_logits, fake_logits)
                loss.backward()  # type: ignore[no-untyped-call]
                statistics.add(**generator.pending_statistics())
                logged.add(
                    loss_discriminator=loss,
                    sign_real=real_logits.sign().mean(),
                    sign_fake=fake_logits.sign().mean(),
                )
            session.average_gradients(trained_d, len(micro_batches))
            d_optimizer.step()
            generator.apply_statistics(session.mean(statistics.values), config.batch_size)

            # R1 on reals, every r1_interval steps with that much more weight; in full precision.
            if step % config.r1_interval == 0:
                d_optimizer.zero_grad()
                session.seed_step(images_seen, 0, "r1")
                strengths = augmentation()
                for micro_batch in micro_batches:
                    batch, labelled = reals(micro_batch)
                    seen_through = partial(
                        judge, labels=labelled, strengths=strengths, micro_batch=micro_batch
                    )
                    penalty = r1_penalty(seen_through, batch).mean()
                    loss = penalty * (config.r1_gamma / 2 * config.r1_interval)
                    loss.backward()  # type: ignore[no-untyped-call]
                    logged.add(r1_penalty=penalty)
                session.average_gradients(trained_d, len(micro_batches))
                d_optimizer.step()
            discriminator.requires_grad_(False)

            if adaptation is not None:
                signs = session.mean({"real": logged.values["sign_real"]})
                adaptation.observe(signs["real"])
            images_seen += config.batch_size
            ramp_up = 0.0 if transferred else EMA_RAMP_UP
            beta = half_life_beta(config.batch_size, images_seen, config.ema_half_life, ramp_up)
            update_average(average, generator, beta)

            at_end = images_seen >= total
            checkpoint_due = at_end or crossed(
                images_seen, config.batch_size, config.checkpoint_images
            )
            if step % LOG_EVERY == 0 or checkpoint_due:
                metrics = {k: float(v) for k, v in session.mean(logged.values).items()}
                check_finite(metrics, images_seen)  # before anything is saved
            if step % LOG_EVERY == 0:
                elapsed, step_began = time.monotonic() - step_began, time.monotonic()
                if step:
                    metrics["images_per_second"] = LOG_EVERY * config.batch_size / elapsed
                if adaptation is not None:
                    metrics |= adaptation.metrics()
                tracker.metrics(metrics, step=images_seen)
                note = f"G {metrics['loss_generator']:.2f} D {metrics['loss_discriminator']:.2f}"
            progress.advance(config.batch_size, note)
            if at_end or crossed(images_seen, config.batch_size, config.snapshot_images):
                measure()
            if checkpoint_due:
                session.check_replicas(
                    generator=generator,
                    discriminator=discriminator,
                    average=average,
                    g_optimizer=g_optimizer,
                    d_optimizer=d_optimizer,
                    **({} if adaptation is None else {"adaptation": adaptation}),
                )
                if session.is_main:
                    resume.save(
                        {
                            "generator": generator.state_dict(),
                            "discriminator": discriminator.state_dict(),
                            "average": average.state_dict(),
                            "g_optimizer": g_optimizer.state_dict(),
                            "d_optimizer": d_optimizer.state_dict(),
                            "adaptation": adaptation and adaptation.state_dict(),
                            "images_seen": images_seen,
                            "history": history,
                        }
                    )
                session.wait()
    return history


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


def check_finite(metrics: Mapping[str, float], images_seen: int) -> None:
    """Stop a run that has diverged.

    Raises:
        UserError: a value is infinite or not a number; says what to lower.
    """
    wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
    if wrong:
        raise UserError(
            f"training diverged: {', '.join(wrong)} not finite at {images_seen} images; lower "
            "gan.generator_lr and gan.discriminator_lr (with gan.precision bf16 or fp16, try no)"
        )
