"""Variations of real persons of the training split, from the inversions of their images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lookalike.config import GenerateConfig, VariationsConfig
from lookalike.data.decoding import decode
from lookalike.data.loading import Images, read_bytes, resize, to_tensor
from lookalike.data.manifest import read_manifest
from lookalike.errors import UserError
from lookalike.inversion.checkpoint import load_encoder
from lookalike.inversion.encoder import Encoder
from lookalike.inversion.fitting import load_latents
from lookalike.seeds import derive_seed
from lookalike.synthesis.kind import ImageKind, Order
from lookalike.synthesis.latents import layer_group, ws_from_seeds
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import Destination, Reals, Styles, write_images

ReadPixels = Callable[[Sequence[str]], Images]  # image_ids -> uint8 [N, H, W, 3]

WITH_IMAGE = ("cross", "interpolate")  # recipes whose partner is a real image
PLACE = ("structure", "camera")  # groups whose change can be kept off the person
STEP = (0.3, 0.7)  # between two images of one person the whole middle is that person


def plan_variations(
    images: Mapping[str, Sequence[str]], config: VariationsConfig
) -> list[PlannedImage]:
    """`config.images_per_person` images of each person.

    The person's real images take turns as the source. The first share, `config.crosses`, takes the
    styles of `config.group` from the inversion of somebody else's image, drawn from all of them
    alike, so that a person is seen in the places that there are, and where no detail is kept in
    their poses and lights; where there is nobody else, there are no crosses. The last share of
    `config.interpolation` lies between the inversions of two images of the person, and keeps no
    detail, since the pose changes; of a person with one image, there is none. Between them, the
    styles come from a random seed.

    Args:
        images: each person's image_ids, in order.
    """
    count = config.images_per_person
    elsewhere = partial(
        Recipe,
        group=config.group,
        detail=config.detail,
        around=config.detail and config.group in PLACE,
    )
    everybody = [(person, name) for person, names in images.items() for name in names]
    plans = []
    for person, sources in images.items():
        crossed = round(count * config.crosses) if len(images) > 1 else 0
        interpolated = round(count * config.interpolation) if len(sources) > 1 else 0
        for index in range(count):
            source, turn = sources[index % len(sources)], index // len(sources)
            seed = derive_seed("variation", source, turn)
            name = f"{source}_var{turn:02d}"
            draw = np.random.default_rng(seed)
            if index < crossed:
                partner = _of_another(person, everybody, draw)
                recipe = elsewhere("cross", partner=partner)
                plans.append(PlannedImage(name, person, recipe, source_image=source))
            elif index < count - interpolated:
                recipe = elsewhere("mix", psi=config.truncation_psi, partner=str(seed))
                plans.append(PlannedImage(name, person, recipe, seed, source))
            else:
                partner = str(draw.choice([other for other in sources if other != source]))
                amount = round(draw.uniform(*STEP), 3)
                recipe = Recipe("interpolate", amount=amount, partner=partner)
                plans.append(PlannedImage(name, person, recipe, source_image=source))
    return plans


def _of_another(
    person: str, everybody: Sequence[tuple[str, str]], draw: np.random.Generator
) -> str:
    """The image_id of anybody but this person."""
    while True:
        who, name = everybody[int(draw.integers(len(everybody)))]
        if who != person:
            return name


def check_crosses(encoder: Encoder, config: VariationsConfig) -> None:
    """Whether the styles that come from elsewhere are those that the encoder calls structure.

    Raises:
        UserError: they are others, and crosses would mix who and how; or there is no such encoder,
            and nothing tells the person from the place.
    """
    two_codes = encoder.structure_styles > 0
    if config.group in PLACE and (config.detail or (two_codes and config.crosses)):
        check_structure(encoder, f"generate.variations.group: {config.group}")


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


def variation_latents(
    encoder: Encoder,
    plans: Sequence[PlannedImage],
    pixels: ReadPixels,
    fitted: Mapping[str, Tensor] | None = None,
) -> Styles:
    """Styles of planned images and of their source images, from the real images that they name.

    Args:
        encoder: of the generator that draws.
        plans: what to draw.
        pixels: reads at the generator's size.
        fitted: image_id -> latent [num_ws, w_dim] of every image; without any, the encoder says.
    """

    def inverted(names: list[str]) -> Tensor:
        if fitted:
            return torch.stack([fitted[name] for name in names])
        return encoder.invert(to_tensor(pixels(names), encoder.w_avg.device))

    base = inverted([plan.source_image for plan in plans])
    partner = base
    if any(plan.recipe.kind in WITH_IMAGE for plan in plans):
        # The whole batch, so that its shape (and with it the last bit) is the same always.
        partner = inverted([_partner_image(plan) for plan in plans])
    mixed = [plan.recipe.kind == "mix" for plan in plans]
    if any(mixed):
        psis = [1.0 if plan.recipe.psi is None else plan.recipe.psi for plan in plans]
        seeds, names = zip(*((max(p.seed, 0), p.recipe.label) for p in plans), strict=True)
        seeded = ws_from_seeds(encoder.generator, seeds, psis, names)
        partner = torch.where(torch.tensor(mixed)[:, None, None].to(base.device), seeded, partner)
    drawn = [plan.recipe.apply(a, b) for plan, a, b in zip(plans, base, partner, strict=True)]
    return Styles(torch.stack(drawn), base)


def sources_of(pixels: ReadPixels) -> Reals:
    """The plans' source images, read by `pixels`."""
    return lambda plans: pixels([plan.source_image for plan in plans])


def _partner_image(plan: PlannedImage) -> str:
    return plan.recipe.partner if plan.recipe.kind in WITH_IMAGE else plan.source_image


def generate_variations(
    encoder: Encoder,
    sources: pd.DataFrame,
    config: VariationsConfig,
    generate: GenerateConfig,
    to: Destination,
    fitted: Mapping[str, Tensor] | None = None,
) -> pd.DataFrame:
    """Write variations of every person in `sources`; see `rendering.write_images`.

    Args:
        encoder: bound to the generator that draws.
        sources: manifest rows of real images of the training split.
        config, generate, to: what is drawn, in which size, and where to.
        fitted: as of `variation_latents`.

    Returns:
        The manifest: person_id and source_image of the real image, split train, origin variation.

    Raises:
        ValueError: a source is of another split, or generated.
        UserError: crosses with an encoder that reads other styles as structure.
    """
    check_crosses(encoder, config)
    return write_from_images(
        encoder,
        sources,
        lambda persons: plan_variations(persons, config),
        generate,
        origin="variation",
        to=to,
        fitted=fitted,
    )


def write_from_images(
    encoder: Encoder,
    sources: pd.DataFrame,
    plan: Callable[[Mapping[str, Sequence[str]]], list[PlannedImage]],
    generate: GenerateConfig,
    *,
    origin: Literal["person", "variation"],
    to: Destination,
    fitted: Mapping[str, Tensor] | None = None,
) -> pd.DataFrame:
    """Write what is drawn from real images; see `rendering.write_images`.

    Args:
        encoder: bound to the generator that draws.
        sources: manifest rows of real images of the training split.
        plan: from each person's image_ids, in order, to what is drawn.
        generate, origin, to: as of `rendering.write_images`.
        fitted: as of `variation_latents`.

    Raises:
        ValueError: a source is of another split, or generated.
    """
    foreign = sources[(sources["split"] != "train") | (sources["origin"] != "real")]
    if len(foreign):
        raise ValueError(
            f"a {origin} comes from real images of the training split only; {len(foreign)} others "
            f"are given, first {foreign['image_id'].iloc[0]}"
        )
    design = encoder.generator.config
    canvas = pixels_of(sources, to.root, design.height, design.width)
    crops = pixels_of(sources, to.root, generate.height, generate.width)
    ordered = sources.sort_values(["person_id", "image_id"])
    persons = {
        str(person): list(names) for person, names in ordered.groupby("person_id")["image_id"]
    }
    return write_images(
        plan(persons),
        lambda plans: variation_latents(encoder, plans, canvas, fitted),
        encoder.generator,
        generate,
        origin=origin,
        to=to,
        reals=sources_of(crops),
    )


def train_rows(order: Order) -> pd.DataFrame:
    """The pipeline's real images of the training split."""
    rows = read_manifest(order.artifacts.validate.manifest)
    return rows[rows["split"] == "train"].reset_index(drop=True)


def _as_ordered(order: Order) -> pd.DataFrame:
    made, config = order.artifacts.train_encoder, order.config
    encoder = load_encoder(made.encoder, order.generator)
    fitted = load_latents(made.latents, order.generator)
    sources = train_rows(order)
    return generate_variations(encoder, sources, config.variations, config, order.to, fitted)


KIND = ImageKind(
    generate=_as_ordered,
    reads=lambda artifacts: [
        artifacts.validate.manifest,
        artifacts.train_encoder.encoder,
        artifacts.train_encoder.latents,
    ],
    card="generated variations of the train images of {data}{taught}",
)
