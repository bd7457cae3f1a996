"""From planned images to JPEG files in an archive, with their manifest."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Lazily
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from lookalike.data.archives import write_archive
from lookalike.data.loading import Images, encode_jpeg, resize_batch, to_uint8
from lookalike.data.manifest import new_manifest
from lookalike.progress import Progress
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.latents import style_mix, ws_from_seeds
from lookalike.synthesis.recipes import PlannedImage
from lookalike.training.session import Session
from lookalike.training.threads import each_by_a_thread

APPEARANCES = 3  # in which a person is drawn to tell where they are
PERSON = (0.25, 0.6)  # from surroundings to person, in shares of an image's strong spread


class Styles(NamedTuple):
    """What images are drawn from: styles, each [N, num_ws, w_dim]."""

    ws: Tensor
    inverted: Tensor | None = None
    """Those of the source images, where there are such."""


Latents = Callable[[Sequence[PlannedImage]], Styles]
Reals = Callable[[Sequence[PlannedImage]], Images]  # the source images, at the size of crops


class RenderSize(Protocol):
    """The size of stored crops, and how many are drawn at once; `config.GenerateConfig` is one."""

    @property
    def height(self) -> int:
        """In pixels."""

    @property
    def width(self) -> int:
        """In pixels."""

    @property
    def batch_size(self) -> int:
        """Images at once."""


@dataclass(frozen=True)
class Destination:
    """Where images are written, and by whom.

    Attributes:
        archive: the zip, relative to `root`.
        root: the repository root.
        session: which process this is.
        generator_digest: sha256 of the generator's file, for the manifest.
    """

    archive: Path
    root: Path
    session: Session
    generator_digest: str


@torch.no_grad()
def render(
    plans: Sequence[PlannedImage],
    latents: Latents,
    generator: Generator,
    config: RenderSize,
    reals: Reals | None = None,
) -> list[bytes]:
    """JPEG bytes of up to `config.batch_size` images, at the configured size of crops.

    Where a recipe keeps detail, the image is the real one with what the generator changes, x +
    m (G(w') - G(w)), so that faces, patterns and bags stay although G cannot draw them. Wang et al.
    2022, "High-Fidelity GAN Inversion for Image Attribute Editing", learn how to add the difference
    x - G(w) again; where w' leaves the pose as it was, adding it as it is does. In somebody else's
    appearance m is 1. In somebody else's structure it is `surroundings`: the person stays as the
    image has them, and the place around them becomes the other's.

    A short batch is filled up with its last image: kernels choose their order of summation by the
    shape of a batch, and a difference in the last bit can show in a JPEG.

    Args:
        plans: what to draw, at least one.
        latents: how to get from plans to styles.
        generator: in evaluation mode.
        config: size of crops and batches.
        reals: the source images x; needed where a recipe keeps detail.
    """
    missing = config.batch_size - len(plans)
    assert plans
    assert missing >= 0
    batch = [*plans, *[plans[-1]] * missing]
    styles = latents(batch)
    images = generator.synthesis(styles.ws)
    crops = resize_batch(to_uint8(images)[: len(plans)], config.height, config.width)
    kept = np.array([plan.recipe.detail for plan in plans])
    if kept.any():
        assert styles.inverted is not None
        assert reals is not None
        change = images - generator.synthesis(styles.inverted)
        around = torch.tensor([plan.recipe.around for plan in batch], device=change.device)
        if around.any():
            outside = surroundings(generator, styles.inverted)
            change = torch.where(around[:, None, None, None], outside * change, change)
        crops[kept] = _add(change[: len(plans)], reals(plans))[kept]
    return [encode_jpeg(crop) for crop in crops]


def surroundings(generator: Generator, ws: Tensor) -> Tensor:
    """What of each image is not the person: float [N, 1, h, w] in [0, 1], in the generator's size.

    The person is where appearance shows: where the same structure in the appearances of a few
    seeds differs from their mean. An image's own strongest tenth is the measure, since a dark place
    hides differences; the bounds were set by eye, on rendered pedestrians.
    """
    drawn = [
        generator.synthesis(style_mix(ws, other.expand_as(ws), "appearance"))
        for other in ws_from_seeds(generator, range(APPEARANCES), [1.0] * APPEARANCES)
    ]
    images = torch.stack(drawn)
    spread = (images - images.mean(dim=0)).abs().mean(dim=(0, 2))  # [N, h, w]
    strong = spread.flatten(1).quantile(0.9, dim=1).clamp(min=1e-3)[:, None, None]
    low, high = PERSON
    person = ((spread / strong - low) / (high - low)).clamp(0, 1)[:, None]
    return 1 - F.max_pool2d(person, 3, stride=1, padding=1)  # a pixel more, for blurred edges


def _add(change: Tensor, reals: Images) -> Images:
    """Real images [N, H, W, 3] with a change [N, 3, h, w] of images in [-1, 1]."""
    resized = F.interpolate(change.float(), reals.shape[1:3], mode="bicubic", antialias=True)
    sums = reals + 127.5 * resized.permute(0, 2, 3, 1).cpu().numpy()
    return np.clip(np.rint(sums), 0, 255).astype(np.uint8)


def write_images(
    plans: Sequence[PlannedImage],
    latents: Latents,
    generator: Generator,
    config: RenderSize,
    *,
    origin: Literal["person", "variation"],
    to: Destination,
    reals: Reals | None = None,
) -> pd.DataFrame:
    """Render all plans into one archive, the batches shared out over the processes.

    Every process writes its batches into an archive of its own beside the final one; the main
    process merges them in the order of the plans, so the archive does not depend on their number.
    On a CPU a batch is one thread's work.

    Args:
        plans: in the order of the archive and the manifest.
        latents: how to get from plans to styles.
        generator: in evaluation mode.
        config: size of crops and batches.
        origin: for the manifest.
        to: where to write.
        reals: as of `render`.

    Returns:
        The manifest, the same on every process.
    """
    batches = [plans[i : i + config.batch_size] for i in range(0, len(plans), config.batch_size)]
    target, session = to.root / to.archive, to.session
    parts = [target.with_name(f"{target.name}.part{rank}") for rank in range(session.world)]

    def rendered() -> Lazily[tuple[str, bytes]]:
        mine = batches[session.rank :: session.world]
        total = sum(map(len, mine))
        drawn = partial(render, latents=latents, generator=generator, config=config, reals=reals)
        with (
            Progress(f"generate {origin}s", total, visible=session.is_main) as progress,
            each_by_a_thread(drawn, mine, session.device) as crops_of,
        ):
            for batch, crops in zip(mine, crops_of, strict=True):
                for plan, data in zip(batch, crops, strict=True):
                    yield plan.member, data
                progress.advance(len(batch))

    def merged() -> Iterator[tuple[str, bytes]]:
        with ExitStack() as stack:
            opened = [stack.enter_context(zipfile.ZipFile(part)) for part in parts]
            for number, batch in enumerate(batches):
                for plan in batch:
                    yield plan.member, opened[number % session.world].read(plan.member)

    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(rendered()) as members:
        write_archive(parts[session.rank], members)
    session.wait()
    if session.is_main:
        write_archive(target, merged())
        for part in parts:
            part.unlink()
    session.wait()
    with zipfile.ZipFile(target) as file:
        rows = [
            manifest_row(plan, file.read(plan.member), origin, to.generator_digest, config)
            | {"archive": to.archive.as_posix()}
            for plan in plans
        ]
    return new_manifest(rows)


def manifest_row(
    plan: PlannedImage,
    data: bytes,
    origin: Literal["person", "variation"],
    generator_digest: str,
    config: RenderSize,
) -> dict[str, object]:
    """The row of a generated image, `data` its encoded bytes; training split, no camera."""
    return {
        "image_id": plan.image_id,
        "person_id": plan.person_id,
        "camera_id": 0,
        "split": "train",
        "origin": origin,
        "member": plan.member,
        "width": config.width,
        "height": config.height,
        "sha256": hashlib.sha256(data).hexdigest(),
        "seed": plan.seed,
        "recipe": str(plan.recipe),
        "layer_group": plan.recipe.group or "",
        "source_image": plan.source_image,
        "generator": generator_digest,
    }
