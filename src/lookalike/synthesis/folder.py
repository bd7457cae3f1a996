"""A folder of images in, their inversions and variations out: the study's one-command usage.

Or seeds in, and new images of a generator out, for which nothing else is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lookalike.arguments import new_folder
from lookalike.config import GenerateConfig
from lookalike.data.decoding import decode
from lookalike.data.manifest import new_manifest, write_manifest
from lookalike.device import default_device
from lookalike.disk import is_utf8, printable
from lookalike.errors import UserError
from lookalike.files import replacing, sha256_file
from lookalike.inversion.encoder import Encoder
from lookalike.names import counted
from lookalike.progress import Progress, say
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.synthesis.from_images import (
    Inverter,
    latents_from_images,
    pixels_of,
    sources_of,
)
from lookalike.synthesis.kinds.persons import person_latents
from lookalike.synthesis.kinds.variations import check_crosses, plan_variations
from lookalike.synthesis.latents import labels_of
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import manifest_row, render


@dataclass(frozen=True)
class CropSize:
    """Crops of a generator's own size."""

    height: int
    width: int
    batch_size: int = 16


@dataclass(frozen=True)
class FolderResult:
    """What became of a folder."""

    manifest: pd.DataFrame
    """A row per written image; also in the output folder as manifest.parquet."""
    skipped: dict[str, str]
    """File name -> why it was left out."""


def generate_from_folder(
    source: Path,
    output: Path,
    encoder: Encoder,
    config: GenerateConfig,
    *,
    generator_digest: str,
) -> FolderResult:
    """Write the inversion and the variations of each image of a folder.

    NAME.png becomes NAME_inverted.jpg and NAME_var00.jpg onwards. Every file counts as a person of
    its own: there are crosses with the others' structures and style mixing. Files that are no
    images are named, counted and left out.

    Args:
        source: the folder; folders in it are not entered.
        output: created where it is missing, empty otherwise: its pictures are the manifest's.
        encoder: bound to the generator that draws.
        config: sizes, and under `variations` how many and how.
        generator_digest: sha256 of the generator's file, for the manifest.

    Raises:
        UserError: no such folder, no readable image in it, or `output` holds something already.
    """
    check_crosses(encoder, config.variations)
    if not source.is_dir():
        raise UserError(f"no folder at {source}; give --input a folder of images")
    new_folder(output)
    sources, skipped = _scan(source)
    for name, reason in skipped.items():
        say(f"skipped {name}: {reason}")
    if sources.empty:
        raise UserError(
            f"{source} holds no readable image ({counted(len(skipped), 'file')} skipped)"
        )

    variations = plan_variations({name: [name] for name in sources["image_id"]}, config.variations)
    inversions = [
        PlannedImage(f"{name}_inverted", name, Recipe("base"), source_image=name)
        for name in sources["image_id"]
    ]
    plans = sorted([*inversions, *variations], key=lambda plan: (plan.person_id, plan.image_id))
    design = encoder.generator.config
    pixels = pixels_of(sources, source, design.height, design.width)
    reals = sources_of(pixels_of(sources, source, config.height, config.width))

    output.mkdir(parents=True, exist_ok=True)
    rows = []
    with Progress("generate", len(plans)) as progress:
        for start in range(0, len(plans), config.batch_size):
            batch = plans[start : start + config.batch_size]
            crops = render(
                batch,
                lambda some: latents_from_images(Inverter(encoder), some, pixels),
                encoder.generator,
                config,
                reals,
            )
            for plan, data in zip(batch, crops, strict=True):
                with replacing(output / plan.member) as partial:
                    partial.write_bytes(data)
                rows.append(manifest_row(plan, data, "variation", generator_digest, config))
            progress.advance(len(batch))
    manifest = new_manifest(rows)
    write_manifest(manifest, output / "manifest.parquet")
    done = f"{counted(len(sources), 'image')} -> {len(manifest):,} in {output}"
    say(f"{done}, {counted(len(skipped), 'file')} skipped")
    return FolderResult(manifest, skipped)


def generate_from_seeds(
    generator_file: Path, seeds: Sequence[int], output: Path, *, psi: float, name: str = ""
) -> pd.DataFrame:
    """Write an image per seed, of the generator's own size, and manifest.parquet; return that.

    Every seed counts as a person of its own; one given twice is drawn once.

    Args:
        generator_file: any checkpoint of this project: trained, imported or exported.
        seeds: at least one.
        output: created where it is missing, empty otherwise: its pictures are the manifest's.
        psi: truncation.
        name: the class to draw, of a conditional generator; "": each seed draws its own.

    Raises:
        UserError: no such generator or class, or `output` holds something already.
    """
    new_folder(output)
    generator = load_generator(generator_file, default_device())
    digest = sha256_file(generator_file)
    labels_of(generator, [0], [name])
    recipe = Recipe("base", psi=psi, label=name)
    names = {seed: f"seed{seed:06d}" for seed in seeds}
    plans = [PlannedImage(text, text, recipe, seed) for seed, text in names.items()]
    canvas = CropSize(generator.config.height, generator.config.width)

    output.mkdir(parents=True, exist_ok=True)
    rows = []
    with Progress("generate", len(plans)) as progress:
        for start in range(0, len(plans), canvas.batch_size):
            batch = plans[start : start + canvas.batch_size]
            crops = render(batch, lambda some: person_latents(generator, some), generator, canvas)
            for plan, data in zip(batch, crops, strict=True):
                with replacing(output / plan.member) as partial:
                    partial.write_bytes(data)
                rows.append(manifest_row(plan, data, "person", digest, canvas))
            progress.advance(len(batch))
    manifest = new_manifest(rows)
    write_manifest(manifest, output / "manifest.parquet")
    say(f"{output}: {counted(len(manifest), 'image')} of {generator_file}, and manifest.parquet")
    return manifest


def _scan(folder: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows for `variations.pixels_of`, and the files that are left out with the reason."""
    rows: dict[str, dict[str, str]] = {}
    skipped: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        # A link to nothing is named below, like whatever cannot be read.
        if path.name.startswith(".") or path.is_dir() or not (path.is_file() or path.is_symlink()):
            continue
        if not is_utf8(path.name):
            skipped[printable(path.name)] = "its name is not UTF-8; rename it"
            continue
        if path.stem in rows:
            skipped[path.name] = f"{rows[path.stem]['member']} has the same name"
            continue
        try:
            decode(path.read_bytes(), path.name)
        except (UserError, OSError) as error:
            skipped[path.name] = str(error).removeprefix(f"{path.name}: ")
            continue
        rows[path.stem] = {"image_id": path.stem, "archive": "", "member": path.name}
    return pd.DataFrame(list(rows.values()), columns=["image_id", "archive", "member"]), skipped
