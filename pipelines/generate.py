"""Stage generate@KIND: new persons from seeds, or variations of real train persons."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.files import sha256_file
from lookalike.inversion.checkpoint import load_encoder
from lookalike.names import counted
from lookalike.progress import say
from lookalike.report.figures import contact_sheet, sources_and_variations
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.synthesis.persons import generate_persons
from lookalike.synthesis.variations import generate_variations
from lookalike.training.session import Session
from pipelines.stage import ENCODER, GENERATOR, MANIFEST, Stage, choice, run

INPUTS = {"persons": [GENERATOR], "variations": [MANIFEST, GENERATOR, ENCODER]}
SHOWN_PERSONS, SHOWN_IMAGES = 12, 10  # at most


def work(stage: Stage, kind: str) -> None:
    """Generate into one archive, with a manifest from which every image can be made again."""
    config, made = stage.config.generate, ARTIFACTS.generate(kind)
    session = Session(stage.config.seed)
    generator = load_generator(GENERATOR, session.device)
    digest = sha256_file(GENERATOR)
    if kind == "persons":
        manifest = generate_persons(
            generator,
            config.persons,
            config,
            generator_digest=digest,
            archive=made.archive,
            root=stage.root,
            session=session,
        )
    else:
        real = read_manifest(MANIFEST)
        sources = real[real["split"] == "train"].reset_index(drop=True)
        encoder = load_encoder(ENCODER, generator)
        manifest = generate_variations(
            encoder,
            sources,
            config.variations,
            config,
            generator_digest=digest,
            archive=made.archive,
            root=stage.root,
            session=session,
        )
    if not session.is_main:
        return
    write_manifest(manifest, made.manifest)

    shown = manifest["person_id"].drop_duplicates().head(SHOWN_PERSONS)
    groups = [
        group.head(SHOWN_IMAGES)
        for _, group in manifest[manifest["person_id"].isin(shown)].groupby("person_id")
    ]
    together = load_images(pd.concat(groups), stage.root, config.height, config.width)
    pixels = np.split(together, np.cumsum([len(group) for group in groups])[:-1])
    if kind == "persons":
        contact_sheet(np.concatenate(pixels), made.sheet, columns=len(pixels[0]))  # a row each
    else:
        fewest = min(len(group) for group in pixels)
        first = sources.set_index("image_id").loc[[g["source_image"].iloc[0] for g in groups]]
        reals = load_images(first.reset_index(), stage.root, config.height, config.width)
        sources_and_variations(reals, np.stack([group[:fewest] for group in pixels]), made.sheet)
    stage.tracker.artifact(made.sheet)
    stage.tracker.params({"generate": {kind: getattr(config, kind).model_dump()}})
    stage.tracker.metrics(
        {"images": len(manifest), "persons": float(manifest["person_id"].nunique())}
    )
    stage.dataset(manifest, "generated", kind)
    say(f"{stage.name}: {counted(len(manifest), 'image')}")


if __name__ == "__main__":
    kind = choice(list(INPUTS))
    run(f"generate@{kind}", partial(work, kind=kind), INPUTS[kind])
