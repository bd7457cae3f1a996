"""Stage filter@KIND: the cascade over generated images, calibrated on real ones."""

from __future__ import annotations

import json
from functools import partial

import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.config import KINDS
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.data.scores import write_scores
from lookalike.errors import UserError
from lookalike.files import write_text
from lookalike.filtering.cascade import FILTERS, filter_manifest
from lookalike.filtering.detector import load_detector
from lookalike.filtering.filter import Crops
from lookalike.filtering.sharing import UNIT
from lookalike.metrics.imagenet import ImagenetFeatures
from lookalike.names import counted
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.report.filter_sheet import kept_and_rejected
from lookalike.report.headline import filter_headline, of_part, write_headline
from lookalike.training.session import Session
from lookalike.training.sharing import shared
from pipelines.added import note_baseline
from pipelines.stage import BASELINE_MODEL, MANIFEST, Stage, choice, run


def work(stage: Stage, kind: str) -> None:
    """Score every generated image, keep or reject it, and say how many and why."""
    config, made = stage.config, ARTIFACTS.filter(kind)
    session = Session(config.seed)
    embedder = Embedder.load(BASELINE_MODEL, device=session.device)
    asked = any(step.neutral and step.threshold(config.filter) for step in FILTERS)
    neutral = ImagenetFeatures(device=session.device) if asked else None

    def crops(rows: pd.DataFrame) -> Crops:
        rows = rows.reset_index(drop=True)
        images = load_images(rows, stage.root, config.generate.height, config.generate.width)
        embeddings = shared(embedder.embed, images, session, UNIT)
        looks = shared(neutral, images, session, UNIT) if neutral else None
        return Crops(rows, images, embeddings, looks)

    generated = crops(read_manifest(ARTIFACTS.generate(kind).manifest))
    manifest = read_manifest(MANIFEST)
    real = crops(manifest[manifest["split"].isin(["train", "val"])])
    detector = load_detector(config.filter.detector, stage.root, session.device)
    result = filter_manifest(generated, real, detector, config.filter, session=session)
    if not session.is_main:
        return

    write_manifest(result.kept, made.manifest)
    note_baseline(made, BASELINE_MODEL)
    write_scores(result.scores, made.scores)
    write_text(made.summary, json.dumps(result.summary, indent=2) + "\n")
    # Nine digits: OpenCV's first sums in a process differ now and then in the sixteenth.
    write_text(made.rejection, result.curves.to_csv(index=False, float_format="%.9g"))
    kept_and_rejected(generated.images, result.scores, made.sheet)
    for path in (made.sheet, made.summary, made.rejection):
        stage.tracker.artifact(path)
    stage.tracker.params({"filter": config.filter.model_dump()})
    rates = {
        f"pass_rate_{name}": step["pass_rate"] for name, step in result.summary["steps"].items()
    }
    bounds = {
        f"threshold_{name}": step["threshold"] for name, step in result.summary["steps"].items()
    }
    stage.tracker.metrics({"pass_rate": result.summary["pass_rate"], **rates, **bounds})
    headline = filter_headline(result.summary)
    write_headline(headline, made.headline)
    stage.tracker.headline(of_part(kind, headline))
    stage.dataset(result.kept, "filtered", kind)
    kept, count = len(result.kept), len(result.scores)
    say(f"{stage.name}: kept {kept:,} of {counted(count, 'image')}")
    if kept == 0:
        raise UserError(
            f"all {count} images were rejected; look at {made.sheet}, "
            "then train the generator longer or relax filter.*"
        )


if __name__ == "__main__":
    kind = choice(list(KINDS))
    inputs = [ARTIFACTS.generate(kind).manifest, MANIFEST, BASELINE_MODEL]
    run(f"filter@{kind}", partial(work, kind=kind), inputs)
