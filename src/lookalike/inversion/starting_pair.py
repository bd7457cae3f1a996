"""The starting encoder, trained together with the starting generator on rendered persons.

Both ship with the package, so that the embedded pipeline starts from a generator that draws persons
and from an encoder that keeps them, without a download. `lookalike starting-pair` makes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lookalike.config import GanConfig
from lookalike.data.loading import Images, to_tensor, to_uint8
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.inversion.checkpoint import load_encoder, save_encoder
from lookalike.inversion.codes import CodeEncoder, CodeNetwork, grey
from lookalike.inversion.folding import bring_to_w
from lookalike.inversion.joint import Joint, JointTraining
from lookalike.inversion.pairs import Pairs
from lookalike.inversion.trainer import SAME
from lookalike.progress import say
from lookalike.report.figures import contact_sheet
from lookalike.seeds import derive_seed
from lookalike.stylegan3.checkpoint import DiscriminatorConfig, load_generator, save_gan
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.gan import build_gan, sample_images
from lookalike.stylegan3.starting_generator import EMA_KIMG_PER_IMAGE, POPULATION_SEED, recipe_of
from lookalike.stylegan3.transfer import transfer
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState, fingerprint
from lookalike.training.loop import Loop
from lookalike.training.model_file import one_line
from lookalike.training.session import Session

PATH = Path(__file__).with_name("starting_encoder.safetensors")
CHANNELS = 20  # of the encoder
STRUCTURE_STYLES = 5  # of the generator's ten
# Of `gan`, as the shipped pair was trained.
SETTINGS = {"batch_size": 16, "micro_batch": 16, "generator_lr": 0.002}
SHEET = 12  # persons
SHEET_IMAGES = 1600  # between two sheets


def train_starting_pair(
    config: GanConfig,
    images: Images,
    persons: Sequence[object],
    cameras: Sequence[int],
    folder: Path,
    *,
    encoder: Path | None = None,
    total_images: int,
    seed: int,
) -> None:
    """Train from the generator at `config.start`; resumable; float16 on disk.

    At the end codes are brought into W, so that seeds draw as well as images; see `folding`.

    Args:
        config: the `gan` section; its length and averaging are replaced.
        images: uint8 [N, height, width, 3] of the population with seed POPULATION_SEED.
        persons: of the images [N].
        cameras: that took them [N], the generator's classes.
        folder: gets starting_generator.safetensors, starting_encoder.safetensors and, on the way, a
            sheet of what they draw.
        encoder: to go on from, of the generator at `config.start`.
        total_images: images to show.
        seed: of the encoder and the batches.

    Raises:
        UserError: no checkpoint at `config.start` or `encoder`, or it fits not at all.
    """
    start = Path(config.start)
    if not start.is_file():
        raise UserError(f"no checkpoint at {start} to start from; `starting-generator` makes one")
    half_life = 1000 * EMA_KIMG_PER_IMAGE * config.batch_size
    changes = {"condition": "camera", "total_images": total_images, "ema_half_life": half_life}
    config = config.model_copy(update=changes | {"ada": None, "discriminator": "stylegan"})
    session = Session(seed)
    classes, labels = Classes.of("camera", cameras)
    gan = build_gan(config, seed, classes)
    report = transfer(start, gan.generator, gan.discriminator)
    if session.is_main:
        say(str(report))
    gan.average.load_state_dict(gan.generator.state_dict())
    torch.manual_seed(derive_seed(seed, "encoder"))
    network = CodeNetwork(
        config.height,
        config.width,
        CHANNELS,
        gan.generator.num_ws,
        config.w_dim,
        STRUCTURE_STYLES,
    )
    if encoder is not None:
        found = load_encoder(encoder, load_generator(start))
        try:
            network.load_state_dict(found.network.state_dict())
        except RuntimeError as error:
            raise UserError(f"{encoder} does not fit: {one_line(error)}") from error
    joint = Joint.of(gan, network)
    for module in (gan.generator, gan.discriminator, gan.average, network, joint.average):
        session.broadcast(module.to(session.device))
    gan.discriminator.requires_grad_(False)
    digests = [sha256_file(path) for path in (start, encoder) if path is not None]
    resume = ResumeState(
        Path(".lookalike/resume"),
        "starting-pair",
        fingerprint(config, seed, *digests, hashlib.sha256(images.tobytes()).hexdigest()),
    )
    loop = Loop(
        "starting pair",
        images=total_images,
        batch_size=config.batch_size,
        session=session,
        resume=resume,
        tracker=NullTracker(),
        point_steps=10,
        checkpoint_images=config.checkpoint_images,
        shown=(
            "l1",
            "colours",
            "perception",
            "realism",
            "consistency",
            "loss_discriminator",
        ),
        remedy="lower gan.generator_lr and gan.discriminator_lr",
    )
    pairs = Pairs(images, persons, labels, seed, same=SAME)
    training = JointTraining(config, joint, pairs, session=session, curves=loop.curves)
    loop.register(training.parts())
    chosen = np.sort(np.random.default_rng(seed).choice(len(images), SHEET, replace=False))

    def draw_sheet(_: int) -> dict[str, float]:
        if session.is_main:
            folder.mkdir(parents=True, exist_ok=True)
            drawn = sheet(joint, images[chosen], seed)
            contact_sheet(drawn, folder / "starting_pair.png", columns=SHEET + 1)
        return {}

    loop.run(
        training.step,
        training.read,
        measure=draw_sheet,
        due=lambda seen: seen % SHEET_IMAGES == 0,
    )
    if session.is_main:
        torch.manual_seed(derive_seed(seed, "fold"))
        bring_to_w(gan.average, joint.average, images, labels)
        leg = {"images": total_images, "crops": len(images), "batch_size": config.batch_size}
        _write(config, joint, folder, start, leg | {"seed": seed, "discriminator": "stylegan"})
        resume.discard()


def _write(config: GanConfig, joint: Joint, folder: Path, start: Path, leg: dict[str, Any]) -> None:
    recipe = recipe_of(start, leg | {"encoder": True})
    path = folder / "starting_generator.safetensors"
    save_gan(
        path,
        joint.gan.average,
        joint.gan.discriminator,
        DiscriminatorConfig(config.discriminator_channel_base, config.discriminator_channel_max),
        recipe,
        dtype=torch.float16,
    )
    say(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    # Bound to the generator as it is in the file.
    encoder = CodeEncoder(joint.average, load_generator(path))
    path = folder / "starting_encoder.safetensors"
    own = [leg for leg in recipe["legs"] if leg.get("encoder")]
    trained = {"population_seed": POPULATION_SEED, "legs": own}
    save_encoder(path, encoder, trained, dtype=torch.float16)
    say(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


@torch.no_grad()
def sheet(joint: Joint, reals: Images, seed: int) -> Images:
    """Images of a sheet with a column more than there are `reals` (uint8 [N, H, W, 3]).

    In front of each row is an image that gives the structure, above each column one that gives the
    appearance; four rows of seeds are below.
    """
    generator, network = joint.gan.average, joint.average
    real = to_tensor(reals, generator.mapping.w_avg.device)
    appearance, structure = network.appearance(real), network.structure(grey(real))
    rows = [np.full_like(reals[:1], 255), reals]
    for number in range(len(reals)):
        one = structure[number : number + 1].expand(len(reals), -1, -1)
        ws = generator.mapping.w_avg + torch.cat([one, appearance], dim=1)
        rows += [reals[number : number + 1], to_uint8(generator.synthesis(ws))]
    rows.append(sample_images(generator, 4 * (len(reals) + 1), seed, visible=False))
    return np.concatenate(rows)
