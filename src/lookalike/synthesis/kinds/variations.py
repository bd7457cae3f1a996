"""Variations of real persons of the training split, from the inversions of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from lookalike.config import GenerateConfig, VariationsConfig
from lookalike.inversion.encoder import Encoder
from lookalike.seeds import derive_seed
from lookalike.synthesis.from_images import (
    Inverter,
    check_structure,
    files_read,
    train_rows,
    write_from_images,
)
from lookalike.synthesis.kind import ImageKind, Order
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import Destination

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


def generate_variations(
    inverter: Inverter,
    sources: pd.DataFrame,
    config: VariationsConfig,
    generate: GenerateConfig,
    to: Destination,
) -> pd.DataFrame:
    """Write variations of every person in `sources`; see `rendering.write_images`.

    Args:
        inverter: of the generator that draws.
        sources: manifest rows of real images of the training split.
        config, generate, to: what is drawn, in which size, and where to.

    Returns:
        The manifest: person_id and source_image of the real image, split train, origin variation.

    Raises:
        ValueError: a source is of another split, or generated.
        UserError: crosses with an encoder that reads other styles as structure.
    """
    check_crosses(inverter.encoder, config)
    return write_from_images(
        inverter,
        sources,
        lambda persons: plan_variations(persons, config),
        generate,
        origin="variation",
        to=to,
    )


def _as_ordered(order: Order) -> pd.DataFrame:
    inverter, config = Inverter.load(order), order.config
    return generate_variations(inverter, train_rows(order), config.variations, config, order.to)


KIND = ImageKind(
    generate=_as_ordered,
    reads=files_read,
    card="generated variations of the train images of {data}{taught}",
)
