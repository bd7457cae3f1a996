"""Stage generate@KIND: generated images of one kind, in an archive."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.config import KINDS
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.files import sha256_file
from lookalike.names import counted
from lookalike.progress import say
from lookalike.report.figures import contact_sheet, sources_and_variations
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.synthesis.kind import Order, image_kind
from lookalike.synthesis.rendering import Destination
from lookalike.training.session import Session
from pipelines.stage import GENERATOR, MANIFEST, Stage, choice, run

SHOWN_PERSONS, SHOWN_IMAGES = 12, 10  # at most


def work(stage: Stage, kind: str) -> None:
    """Generate into one archive, with a manifest from which every image can be made again."""
    config, made = stage.config.generate, ARTIFACTS.generate(kind)
    session = Session(stage.config.seed)
    to = Destination(made.archive, stage.root, session, sha256_file(GENERATOR))
    order = Order(load_generator(GENERATOR, session.device), config, ARTIFACTS, to)
    manifest = image_kind(kind).generate(order)
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
    sources = [group["source_image"].iloc[0] for group in groups]
    if all(sources):
        first = read_manifest(MANIFEST).set_index("image_id").loc[sources].reset_index()
        reals = load_images(first, stage.root, config.height, config.width)
        fewest = min(len(group) for group in pixels)
        drawn = np.stack([group[:fewest] for group in pixels])
        sources_and_variations(reals, drawn, made.sheet, called=kind)
    else:
        contact_sheet(np.concatenate(pixels), made.sheet, columns=len(pixels[0]))  # a row each
    stage.tracker.artifact(made.sheet)
    stage.tracker.params({"generate": {kind: config.of(kind).model_dump()}})
    stage.tracker.metrics(
        {"images": len(manifest), "persons": float(manifest["person_id"].nunique())}
    )
    stage.dataset(manifest, "generated", kind)
    say(f"{stage.name}: {counted(len(manifest), 'image')}")


if __name__ == "__main__":
    kind = choice(list(KINDS))
    inputs = [GENERATOR, *image_kind(kind).reads(ARTIFACTS)]
    run(f"generate@{kind}", partial(work, kind=kind), inputs)
