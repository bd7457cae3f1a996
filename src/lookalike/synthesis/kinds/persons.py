"""New persons: a seed each.

Dressed ones are the images of a real person of the training split, in the appearance of the seed.
The others are drawn from seeds alone and vary in one group of styles (the study).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from lookalike.config import GenerateConfig, PersonsConfig
from lookalike.errors import UserError
from lookalike.seeds import derive_seed
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.from_images import (
    Inverter,
    check_structure,
    files_read,
    train_rows,
    write_from_images,
)
from lookalike.synthesis.kind import ImageKind, Order
from lookalike.synthesis.latents import ws_from_seeds
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import Destination, Styles, write_images

# How far an interpolated image moves towards another latent: enough to see, too little to become
# somebody else.
STEP = (0.1, 0.3)


def plan_persons(config: PersonsConfig, classes: Classes | None = None) -> list[PlannedImage]:
    """All images of all persons.

    A person's first image is the plain latent of its seed; the others take the styles of
    `config.group` from another seed or, for the last share of `config.interpolation`, move a
    little towards it. The other seed depends on the person's seed and the image's number only,
    so more persons or images leave those that were there as they were.

    A conditional generator's images get a class each, drawn likewise, in which both latents are
    drawn. Where the classes are cameras a person walks from one to the other; where they are
    persons all images of a new one are of one class.
    """
    others = config.images_per_person - 1
    interpolated = round(others * config.interpolation)
    plans = []
    for number in range(config.count):
        person, seed = f"syn-{number + 1:06d}", config.first_seed + number
        for index in range(config.images_per_person):
            partner = derive_seed("person", seed, index)
            amount = round(np.random.default_rng(partner).uniform(*STEP), 3)
            recipe = Recipe("base", psi=config.truncation_psi, label=_class(classes, seed, index))
            if 0 < index <= others - interpolated:
                recipe = replace(recipe, kind="mix", group=config.group, partner=str(partner))
            elif index > 0:
                recipe = replace(recipe, kind="interpolate", amount=amount, partner=str(partner))
            plans.append(PlannedImage(f"{person}_{index:04d}", person, recipe, seed))
    return plans


def plan_dressed(
    images: Mapping[str, Sequence[str]], config: PersonsConfig, classes: Classes | None = None
) -> list[PlannedImage]:
    """All images of all persons, each the images of a real one in the appearance of its seed.

    Real persons of two images or more take turns (of one image, the filters could not tell whether
    it is of the person), and each gives `config.images_per_person` images at most, chosen by the
    new person's seed; so more persons or images leave those that were there as they were.

    Args:
        images: each real person's image_ids, in order.
        config: how many, and from which seed on.
        classes: of a conditional generator; all images of a person are dressed in one class.

    Raises:
        UserError: no real person has two images.
    """
    real = [person for person, names in images.items() if len(names) > 1]
    if not real:
        raise UserError(
            "generate.persons.dressed: no train person has two images; set dressed: false"
        )
    plans = []
    for number in range(config.count):
        person, seed = f"syn-{number + 1:06d}", config.first_seed + number
        recipe = Recipe(
            "mix",
            group="appearance",
            psi=config.truncation_psi,
            partner=str(seed),
            label="" if classes is None else classes.name_of_seed(seed),
            detail=True,
        )
        sources = images[real[number % len(real)]]
        order = np.random.default_rng(derive_seed("dressed", seed)).permutation(len(sources))
        for index, place in enumerate(order[: config.images_per_person]):
            plans.append(
                PlannedImage(f"{person}_{index:04d}", person, recipe, seed, sources[place])
            )
    return plans


def _class(classes: Classes | None, seed: int, index: int) -> str:
    """The class of a person's image; a camera each, otherwise one per person."""
    if classes is None:
        return ""
    camera = classes.condition == "camera"
    return classes.name_of_seed(seed, index) if camera else classes.name_of_seed(seed)


def person_latents(generator: Generator, plans: Sequence[PlannedImage]) -> Styles:
    """Styles of planned images, from their seeds alone."""
    psis = [1.0 if plan.recipe.psi is None else plan.recipe.psi for plan in plans]
    names = [plan.recipe.label for plan in plans]
    base = ws_from_seeds(generator, [plan.seed for plan in plans], psis, names)
    partners = [int(plan.recipe.partner or plan.seed) for plan in plans]
    partner = ws_from_seeds(generator, partners, psis, names)
    drawn = [plan.recipe.apply(a, b) for plan, a, b in zip(plans, base, partner, strict=True)]
    return Styles(torch.stack(drawn))


def generate_persons(
    generator: Generator,
    config: PersonsConfig,
    generate: GenerateConfig,
    to: Destination,
) -> pd.DataFrame:
    """Write all images of the new persons into an archive; see `rendering.write_images`.

    Returns:
        The manifest: person_id syn-000001 and on, split train, origin person.
    """
    return write_images(
        plan_persons(config, generator.classes),
        lambda plans: person_latents(generator, plans),
        generator,
        generate,
        origin="person",
        to=to,
    )


def generate_dressed(
    inverter: Inverter,
    sources: pd.DataFrame,
    config: PersonsConfig,
    generate: GenerateConfig,
    to: Destination,
) -> pd.DataFrame:
    """Write all images of the dressed persons; see `from_images.write_from_images`.

    Returns:
        The manifest: person_id syn-000001 and on, source_image of the real image, split train,
        origin person.

    Raises:
        UserError: the encoder reads no appearance, or in other styles than those that seeds give.
    """
    check_structure(inverter.encoder, "generate.persons.dressed")
    return write_from_images(
        inverter,
        sources,
        lambda persons: plan_dressed(persons, config, inverter.encoder.generator.classes),
        generate,
        origin="person",
        to=to,
    )


def _as_ordered(order: Order) -> pd.DataFrame:
    config = order.config
    if not config.persons.dressed:
        return generate_persons(order.generator, config.persons, config, order.to)
    inverter = Inverter.load(order)
    return generate_dressed(inverter, train_rows(order), config.persons, config, order.to)


KIND = ImageKind(
    generate=_as_ordered,
    reads=files_read,
    card="new persons{taught}: train images of {data} dressed anew, or drawn from seeds alone",
    new_classes=True,
)
