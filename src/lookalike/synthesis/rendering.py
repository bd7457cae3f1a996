"""From planned images to JPEG files in an archive, with their manifest."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Protocol

import pandas as pd
import torch
from torch import Tensor

from lookalike.data.archives import write_archive
from lookalike.data.loading import encode_jpeg, resize_batch, to_uint8
from lookalike.data.manifest import new_manifest
from lookalike.progress import Progress
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.recipes import PlannedImage
from lookalike.training.session import Session

Latents = Callable[[Sequence[PlannedImage]], Tensor]  # plans -> ws [N, num_ws, w_dim]


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


@torch.no_grad()
def render(
    plans: Sequence[PlannedImage], latents: Latents, generator: Generator, config: RenderSize
) -> list[bytes]:
    """JPEG bytes of up to `config.batch_size` images, at the configured size of crops.

    A short batch is filled up with its last image: kernels choose their order of summation by the
    shape of a batch, and a difference in the last bit can show in a JPEG.
    """
    missing = config.batch_size - len(plans)
    assert plans
    assert missing >= 0
    images = to_uint8(generator.synthesis(latents([*plans, *[plans[-1]] * missing])))
    crops = resize_batch(images[: len(plans)], config.height, config.width)
    return [encode_jpeg(crop) for crop in crops]


def write_images(
    plans: Sequence[PlannedImage],
    latents: Latents,
    generator: Generator,
    config: RenderSize,
    *,
    origin: Literal["person", "variation"],
    generator_digest: str,
    archive: Path,
    root: Path,
    session: Session,
) -> pd.DataFrame:
    """Render all plans into one archive, the batches shared out over the processes.

    Every process writes its batches into an archive of its own beside the final one; the main
    process merges them in the order of the plans, so the archive does not depend on their number.

    Args:
        plans: in the order of the archive and the manifest.
        latents: how to get from plans to styles.
        generator: in evaluation mode.
        config: size of crops and batches.
        origin: for the manifest.
        generator_digest: sha256 of the generator's file, for the manifest.
        archive: the zip to write, relative to `root`.
        root: the repository root.
        session: which process this is.

    Returns:
        The manifest, the same on every process.
    """
    batches = [plans[i : i + config.batch_size] for i in range(0, len(plans), config.batch_size)]
    target = root / archive
    parts = [target.with_name(f"{target.name}.part{rank}") for rank in range(session.world)]

    def rendered() -> Iterator[tuple[str, bytes]]:
        mine = batches[session.rank :: session.world]
        total = sum(map(len, mine))
        with Progress(f"generate {origin}s", total, visible=session.is_main) as progress:
            for batch in mine:
                for plan, data in zip(
                    batch, render(batch, latents, generator, config), strict=True
                ):
                    yield plan.member, data
                progress.advance(len(batch))

    def merged() -> Iterator[tuple[str, bytes]]:
        with ExitStack() as stack:
            opened = [stack.enter_context(zipfile.ZipFile(part)) for part in parts]
            for number, batch in enumerate(batches):
                for plan in batch:
                    yield plan.member, opened[number % session.world].read(plan.member)

    target.parent.mkdir(parents=True, exist_ok=True)
    write_archive(parts[session.rank], rendered())
    session.wait()
    if session.is_main:
        write_archive(target, merged())
        for part in parts:
            part.unlink()
    session.wait()
    with zipfile.ZipFile(target) as file:
        rows = [
            manifest_row(plan, file.read(plan.member), origin, generator_digest, config)
            | {"archive": archive.as_posix()}
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
