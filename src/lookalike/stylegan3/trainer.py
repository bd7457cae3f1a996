"""Training StyleGAN3 (Karras et al. 2020, 2021) in one loop that reads from top to bottom.

Non-saturating logistic loss, R1 every `r1_interval` steps, Adam corrected for the lazy
regulariser, an averaged generator. No style mixing and no path-length regularisation: StyleGAN3
has dropped both. Run it again after a kill and it continues exactly; see `training.session`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lookalike.config import GanConfig
from lookalike.data.loading import Images, to_tensor, to_uint8
from lookalike.errors import UserError
from lookalike.progress import Progress
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.loss import discriminator_loss, generator_loss, r1_penalty
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.ema import half_life_beta, update_average
from lookalike.training.sampler import ShuffledSampler
from lookalike.training.session import Session, crossed, derive_seed, steps_for

LOG_EVERY = 10  # steps between two points of the loss curves
EMA_RAMP_UP = 0.05  # of the images seen (Karras et al. 2020); switched off in transfer learning

Snapshot = Callable[[Generator, int], dict[str, float]]


@dataclass
class Gan:
    """The networks of one training run; `average` is the generator that is kept and used."""

    generator: Generator
    discriminator: Discriminator
    average: Generator


def build_gan(config: GanConfig, seed: int) -> Gan:
    """Freshly initialised networks, the same in every process.

    Raises:
        UserError: sizes that cannot be built.
    """
    torch.manual_seed(derive_seed(seed, "gan"))
    try:
        return _networks(config)
    except ValueError as error:  # a canvas that StyleGAN3 cannot have
        raise UserError(f"gan: {error}") from error


def _networks(config: GanConfig) -> Gan:
    generator = Generator(
        GeneratorConfig(
            height=config.height,
            width=config.width,
            z_dim=config.z_dim,
            w_dim=config.w_dim,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
            num_layers=config.num_layers,
            margin=config.margin,
        )
    )
    discriminator = Discriminator(
        config.height,
        config.width,
        channel_base=config.discriminator_channel_base,
        channel_max=config.discriminator_channel_max,
    )
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    return Gan(generator, discriminator, average)


def train_gan(
    config: GanConfig,
    gan: Gan,
    images: Images,
    *,
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
        session: this process.
        resume: where to continue from, and where to save.
        tracker: receives losses, R1, signs of the logits, speed and the snapshot's metrics.
        snapshot: measures the averaged generator at (generator, images seen); on the main process.
        transferred: the networks come from a checkpoint, so averaging needs no ramp-up.
    """
    micro_batches = session.shard(config.batch_size, config.micro_batch)
    generator = gan.generator.to(session.device).requires_grad_(False)
    discriminator = gan.discriminator.to(session.device).requires_grad_(False)
    average = gan.average.to(session.device)
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

    images_seen, history = 0, list[dict[str, float]]()
    state = resume.load(session.device)
    if state is not None:
        generator.load_state_dict(state["generator"])
        discriminator.load_state_dict(state["discriminator"])
        average.load_state_dict(state["average"])
        g_optimizer.load_state_dict(state["g_optimizer"])
        d_optimizer.load_state_dict(state["d_optimizer"])
        images_seen, history = state["images_seen"], state["history"]

    def reals(micro_batch: int) -> Tensor:
        start = images_seen + micro_batch * config.micro_batch
        indices = sampler.indices(start, config.micro_batch)
        batch = to_tensor(images[indices % len(images)], session.device)
        flipped = torch.from_numpy(indices >= len(images)).to(session.device)
        return torch.where(flipped[:, None, None, None], batch.flip(3), batch)

    def latents() -> Tensor:
        return torch.randn(config.micro_batch, config.z_dim, device=session.device)

    def measure() -> None:
        if snapshot is not None and session.is_main:
            metrics = snapshot(average, images_seen)
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
            logged: dict[str, Tensor] = {}

            # Generator: make the discriminator call fakes real.
            generator.requires_grad_(True)
            g_optimizer.zero_grad()
            for micro_batch in micro_batches:
                session.seed_step(images_seen, micro_batch, "generator")
                with session.autocast():
                    logits = discriminator(generator(latents()))
                loss = generator_loss(logits.float())
                loss.backward()  # type: ignore[no-untyped-call]
                logged["loss_generator"] = loss.detach()
            generator.requires_grad_(False)
            session.average_gradients(generator.parameters(), len(micro_batches))
            g_optimizer.step()

            # Discriminator: tell fakes from reals. The generator's running statistics are
            # gathered here, averaged over everything that this step saw, and applied once.
            for parameter in trained_d:
                parameter.requires_grad_(True)
            d_optimizer.zero_grad()
            statistics: dict[str, Tensor] = {}
            for micro_batch in micro_batches:
                session.seed_step(images_seen, micro_batch, "discriminator")
                with session.autocast():
                    with torch.no_grad():
                        fakes = generator(latents(), collect_statistics=True)
                    fake_logits = discriminator(fakes).float()
                    real_logits = discriminator(reals(micro_batch)).float()
                loss = discriminator_loss(real_logits, fake_logits)
                loss.backward()  # type: ignore[no-untyped-call]
                for name, value in generator.pending_statistics().items():
                    statistics[name] = statistics.get(name, 0) + value / len(micro_batches)
                logged["loss_discriminator"] = loss.detach()
                logged["sign_real"] = real_logits.detach().sign().mean()
                logged["sign_fake"] = fake_logits.detach().sign().mean()
            session.average_gradients(trained_d, len(micro_batches))
            d_optimizer.step()
            generator.apply_statistics(session.mean(statistics), config.batch_size)

            # R1 on reals, every r1_interval steps with that much more weight; in full precision.
            if step % config.r1_interval == 0:
                d_optimizer.zero_grad()
                for micro_batch in micro_batches:
                    session.seed_step(images_seen, micro_batch, "r1")
                    penalty = r1_penalty(discriminator, reals(micro_batch)).mean()
                    loss = penalty * (config.r1_gamma / 2 * config.r1_interval)
                    loss.backward()  # type: ignore[no-untyped-call]
                    logged["r1_penalty"] = penalty.detach()
                session.average_gradients(trained_d, len(micro_batches))
                d_optimizer.step()
            discriminator.requires_grad_(False)

            images_seen += config.batch_size
            ramp_up = 0.0 if transferred else EMA_RAMP_UP
            beta = half_life_beta(config.batch_size, images_seen, config.ema_half_life, ramp_up)
            update_average(average, generator, beta)

            if step % LOG_EVERY == 0:
                metrics = {name: float(value) for name, value in session.mean(logged).items()}
                elapsed, step_began = time.monotonic() - step_began, time.monotonic()
                if step:
                    metrics["images_per_second"] = LOG_EVERY * config.batch_size / elapsed
                tracker.metrics(metrics, step=images_seen)
                note = f"G {metrics['loss_generator']:.2f} D {metrics['loss_discriminator']:.2f}"
            progress.advance(config.batch_size, note)
            if images_seen >= total or crossed(
                images_seen, config.batch_size, config.snapshot_images
            ):
                measure()
            if images_seen >= total or crossed(
                images_seen, config.batch_size, config.checkpoint_images
            ):
                session.check_replicas(
                    generator=generator, discriminator=discriminator, average=average
                )
                if session.is_main:
                    resume.save(
                        {
                            "generator": generator.state_dict(),
                            "discriminator": discriminator.state_dict(),
                            "average": average.state_dict(),
                            "g_optimizer": g_optimizer.state_dict(),
                            "d_optimizer": d_optimizer.state_dict(),
                            "images_seen": images_seen,
                            "history": history,
                        }
                    )
                session.wait()
    return history


@torch.no_grad()
def sample_images(
    generator: Generator,
    count: int,
    seed: int,
    *,
    batch_size: int = 16,
    truncation_psi: float = 1.0,
) -> Images:
    """`count` images of latents drawn from `seed`; the same latents for every generator."""
    device = generator.mapping.w_avg.device
    z = np.random.default_rng(seed).standard_normal((count, generator.config.z_dim))
    latents = torch.from_numpy(z.astype(np.float32)).to(device)
    batches = [
        to_uint8(generator(latents[i : i + batch_size], truncation_psi=truncation_psi))
        for i in range(0, count, batch_size)
    ]
    return np.concatenate(batches)
