"""The starting generator: trained on rendered persons whose seed no other step uses.

It ships with the package, so that the embedded pipeline does transfer learning as the study does,
without a download. `lookalike starting-generator` makes its first legs; the last ones are
`inversion.starting_pair`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lookalike.config import GanConfig
from lookalike.data.loading import Images
from lookalike.files import sha256_file
from lookalike.progress import say
from lookalike.report.figures import contact_sheet
from lookalike.stylegan3.checkpoint import DiscriminatorConfig, save_gan
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.gan import build_gan, sample_images
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.trainer import train_gan
from lookalike.stylegan3.transfer import transfer
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState, fingerprint
from lookalike.training.model_file import load_model
from lookalike.training.session import Session

PATH = Path(__file__).with_name("starting_generator.safetensors")
POPULATION_SEED = 900_001  # the pipelines' populations have small seeds
EMA_KIMG_PER_IMAGE = 10 / 32  # half-life in kimg per image of the batch (Karras et al. 2021)
SHEET = 48


def train_starting_generator(
    config: GanConfig,
    images: Images,
    cameras: Sequence[int],
    output: Path,
    *,
    total_images: int,
    seed: int,
) -> None:
    """Train from scratch, or from `config.start` where that is a file; resumable; float16 on disk.

    Args:
        config: the `gan` section; its length and averaging are replaced.
        images: uint8 [N, height, width, 3] of the population with seed POPULATION_SEED.
        cameras: that took them [N], the generator's classes.
        output: the safetensors file; a sheet of samples is written beside it.
        total_images: images to show.
        seed: of the networks and the batches.

    Raises:
        UserError: no weights at `config.start`, or it fits not at all.
    """
    half_life = 1000 * EMA_KIMG_PER_IMAGE * config.batch_size
    changes = {"condition": "camera", "total_images": total_images, "ema_half_life": half_life}
    config = config.model_copy(update=changes)
    session = Session(seed)
    classes, labels = Classes.of("camera", cameras)
    gan = build_gan(config, seed, classes)
    start = None if config.start == "none" else Path(config.start)
    start_digest = ""
    if start is not None:
        report = transfer(start, gan.generator, gan.discriminator, gan.projected)
        start_digest = sha256_file(start)
        if session.is_main:
            say(str(report))
        gan.average.load_state_dict(gan.generator.state_dict())
    leg = {
        "images": total_images,
        "batch_size": config.batch_size,
        "seed": seed,
        "discriminator": config.discriminator,
        "crops": len(images),
    }

    def snapshot(generator: Generator, images_seen: int) -> dict[str, float]:
        if session.is_main:
            sheet = sample_images(generator, SHEET, seed)
            contact_sheet(sheet, output.with_suffix(".png"), columns=16)
        return {}

    resume = ResumeState(
        Path(".lookalike/resume"),
        "starting",
        fingerprint(config, seed, start_digest, hashlib.sha256(images.tobytes()).hexdigest()),
    )
    train_gan(
        config,
        gan,
        images,
        labels=labels,
        session=session,
        resume=resume,
        tracker=NullTracker(),
        snapshot=snapshot,
        transferred=start is not None,
    )
    if session.is_main:
        save_gan(
            output,
            gan.average,
            gan.discriminator,
            DiscriminatorConfig(
                config.discriminator_channel_base, config.discriminator_channel_max
            ),
            recipe_of(start, leg),
            dtype=torch.float16,
            projected=gan.projected,
        )
        say(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")
        resume.discard()


def recipe_of(start: Path | None, leg: dict[str, Any]) -> dict[str, Any]:
    """What a starting generator's file says of its training.

    Args:
        start: the generator that this leg went on from; its legs and its licence go on, too.
        leg: of this training, with `images`.
    """
    source = {} if start is None else load_model(start, "stylegan3").recipe
    legs = [*source.get("legs", []), leg]
    licence = source.get("licence", "")
    return {
        "population_seed": POPULATION_SEED,
        "images_seen": sum(leg["images"] for leg in legs),
        "legs": legs,
        **({"licence": licence} if licence else {}),
    }
