"""Drawing from real images of the training split: their latents, and the way into an archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lookalike.artifacts import Artifacts
from lookalike.config import GenerateConfig
from lookalike.data.decoding import decode
from lookalike.data.loading import Images, read_bytes, resize, to_tensor
from lookalike.data.manifest import read_manifest
from lookalike.errors import UserError
from lookalike.inversion.checkpoint import load_encoder
from lookalike.inversion.encoder import Encoder
from lookalike.inversion.fitting import load_latents
from lookalike.synthesis.kind import Order
from lookalike.synthesis.latents import layer_group, ws_from_seeds
from lookalike.synthesis.recipes import PlannedImage
from lookalike.synthesis.rendering import Destination, Reals, Styles, write_images

ReadPixels = Callable[[Sequence[str]], Images]  # image_ids -> uint8 [N, H, W, 3]

WITH_IMAGE = ("cross", "interpolate")  # recipes whose partner is a real image


@dataclass(frozen=True)
class Inverter:
    """From real images to latents.

    Attributes:
        encoder: bound to the generator that draws.
        fitted: image_id -> latent [num_ws, w_dim] of every image; without any, the encoder says.
    """

    encoder: Encoder
    fitted: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def load(cls, order: Order) -> Inverter:
        """What stage train_encoder has made.

        Raises:
            UserError: a file is missing, damaged, or another generator's.
        """
        made = order.artifacts.train_encoder
        encoder = load_encoder(made.encoder, order.generator)
        return cls(encoder, load_latents(made.latents, order.generator))

    def latents(self, names: Sequence[str], pixels: ReadPixels) -> Tensor:
        """Of images by their ids, [N, num_ws, w_dim]; `pixels` reads at the generator's size."""
        if self.fitted:
            return torch.stack([self.fitted[name] for name in names])
        return self.encoder.invert(to_tensor(pixels(names), self.encoder.w_avg.device))


def files_read(artifacts: Artifacts) -> list[Path]:
    """What drawing from real images reads besides the generator."""
    made = artifacts.train_encoder
    return [artifacts.validate.manifest, made.encoder, made.latents]


def check_structure(encoder: Encoder, what: str) -> None:
    """Whether the encoder reads as structure what `latents.layer_group` calls so.

    Raises:
        UserError: it reads other styles; names `what` asks for it.
    """
    meant, read = len(layer_group("structure", encoder.generator.num_ws)), encoder.structure_styles
    if read != meant:
        raise UserError(
            f"{what}: structure is the first {meant} styles of this generator, and its encoder "
            f"reads {read} as structure; set encoder.structure_styles to {meant}"
        )


def pixels_of(sources: pd.DataFrame, root: Path, height: int, width: int) -> ReadPixels:
    """A function from image_ids of `sources` to uint8 [N, height, width, 3], read when asked for.

    Raises (when called):
        UserError: a file is missing or unreadable.
    """
    rows = sources.set_index("image_id")

    def read(names: Sequence[str]) -> Images:
        wanted = rows.loc[list(names)]
        encoded = zip(read_bytes(wanted, root), wanted["member"], strict=True)
        return np.stack([resize(decode(data, name), height, width) for data, name in encoded])

    return read


def latents_from_images(
    inverter: Inverter, plans: Sequence[PlannedImage], pixels: ReadPixels
) -> Styles:
    """Styles of planned images and of their source images, from the real images that they name.

    Args:
        inverter: of the generator that draws.
        plans: what to draw.
        pixels: reads at the generator's size.
    """
    base = inverter.latents([plan.source_image for plan in plans], pixels)
    partner = base
    if any(plan.recipe.kind in WITH_IMAGE for plan in plans):
        # The whole batch, so that its shape (and with it the last bit) is the same always.
        partner = inverter.latents([_partner_image(plan) for plan in plans], pixels)
    mixed = [plan.recipe.kind == "mix" for plan in plans]
    if any(mixed):
        psis = [1.0 if plan.recipe.psi is None else plan.recipe.psi for plan in plans]
        seeds, names = zip(*((max(p.seed, 0), p.recipe.label) for p in plans), strict=True)
        seeded = ws_from_seeds(inverter.encoder.generator, seeds, psis, names)
        partner = torch.where(torch.tensor(mixed)[:, None, None].to(base.device), seeded, partner)
    drawn = [plan.recipe.apply(a, b) for plan, a, b in zip(plans, base, partner, strict=True)]
    return Styles(torch.stack(drawn), base)


def sources_of(pixels: ReadPixels) -> Reals:
    """The plans' source images, read by `pixels`."""
    return lambda plans: pixels([plan.source_image for plan in plans])


def _partner_image(plan: PlannedImage) -> str:
    return plan.recipe.partner if plan.recipe.kind in WITH_IMAGE else plan.source_image


def write_from_images(
    inverter: Inverter,
    sources: pd.DataFrame,
    plan: Callable[[Mapping[str, Sequence[str]]], list[PlannedImage]],
    generate: GenerateConfig,
    *,
    origin: Literal["person", "variation"],
    to: Destination,
) -> pd.DataFrame:
    """Write what is drawn from real images; see `rendering.write_images`.

    Args:
        inverter: of the generator that draws.
        sources: manifest rows of real images of the training split.
        plan: from each person's image_ids, in order, to what is drawn.
        generate, origin, to: as of `rendering.write_images`.

    Raises:
        ValueError: a source is of another split, or generated.
    """
    foreign = sources[(sources["split"] != "train") | (sources["origin"] != "real")]
    if len(foreign):
        raise ValueError(
            f"a {origin} comes from real images of the training split only; {len(foreign)} others "
            f"are given, first {foreign['image_id'].iloc[0]}"
        )
    generator = inverter.encoder.generator
    design = generator.config
    canvas = pixels_of(sources, to.root, design.height, design.width)
    crops = pixels_of(sources, to.root, generate.height, generate.width)
    ordered = sources.sort_values(["person_id", "image_id"])
    persons = {
        str(person): list(names) for person, names in ordered.groupby("person_id")["image_id"]
    }
    return write_images(
        plan(persons),
        lambda plans: latents_from_images(inverter, plans, canvas),
        generator,
        generate,
        origin=origin,
        to=to,
        reals=sources_of(crops),
    )


def train_rows(order: Order) -> pd.DataFrame:
    """The pipeline's real images of the training split."""
    rows = read_manifest(order.artifacts.validate.manifest)
    return rows[rows["split"] == "train"].reset_index(drop=True)
