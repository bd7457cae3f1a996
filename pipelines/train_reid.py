"""Stage train_reid@ARM: the re-ID model on real images and those that the arm adds."""

from __future__ import annotations

from functools import partial

import pandas as pd

from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, validation_protocol, write_manifest
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate
from lookalike.reid.model import ReidNet, read_state, save_reid
from lookalike.reid.trainer import train_reid
from lookalike.synthesis.arms import real_rows, select
from lookalike.training.session import Session
from lookalike.weights import find
from pipelines.stage import MANIFEST, Stage, added_manifests, chosen_arm, content, run

# Of the curves that validation draws. What `evaluate.ranks` reports is no reason to train again.
RANKS = (1, 5, 10)


def work(stage: Stage, name: str) -> None:
    """Train the arm `name`, measuring on the validation persons along the way."""
    config, reid, arm = stage.config, stage.config.reid, stage.config.arms[name]
    manifest = read_manifest(MANIFEST)
    added = [select(read_manifest(path), arm) for path in added_manifests(arm)]
    rows = pd.concat([real_rows(manifest, arm), *added], ignore_index=True)
    persons = rows["person_id"].tolist()

    session = Session(config.seed, reid.precision)
    images = load_images(rows, stage.root, reid.height, reid.width, description="decode train")
    query, gallery = (
        Side(side, load_images(side, stage.root, reid.height, reid.width, description="decode val"))
        for side in validation_protocol(manifest)
    )

    def validate(model: ReidNet) -> dict[str, float]:
        embedder = Embedder(model, config.evaluate.batch_size, config.evaluate.flip, session.device)
        return evaluate(embedder, query, gallery).ranking.summary(RANKS)

    stage.tracker.params({"arm": arm.model_dump(), "reid": reid.model_dump(), "seed": config.seed})
    stage.tracker.metrics(
        {
            "train_images": len(rows),
            "train_persons": rows["person_id"].nunique(),
            "synthetic_images": int((rows["origin"] != "real").sum()),
        }
    )
    stage.dataset(rows, "training", name)
    initial, start = None, ""
    if reid.weights != "none":
        path = find(reid.weights, stage.root)
        initial, start = read_state(path), content(path)
    # What decides which weights are best counts too: flip and the validation persons.
    held_out = content(manifest[manifest["split"] == "val"])
    resume = stage.resume(reid, config.seed, content(rows), start, config.evaluate.flip, held_out)
    model, history = train_reid(
        reid,
        images,
        persons,
        session=session,
        resume=resume,
        tracker=stage.tracker,
        initial=initial,
        validate=validate,
    )
    if session.is_main:
        save_reid(stage.folder / "model.safetensors", model, reid, sorted(set(persons)))
        table, curves = pd.DataFrame(history), stage.folder / "history.csv"
        table.to_csv(curves, index=False)
        stage.tracker.artifact(curves)
        # By itself, because DVC's plots cannot leave out the rows between two validations.
        measured = table.filter(regex="^images$|^validation_").dropna()
        measured.to_csv(stage.folder / "validation.csv", index=False)
        write_manifest(rows, stage.folder / "trained_on.parquet")
        say(f"{stage.name}: {len(rows)} images of {len(set(persons))} persons")
        resume.discard()


if __name__ == "__main__":
    arm, settings = chosen_arm()
    run(f"train_reid@{arm}", partial(work, name=arm), [MANIFEST, *added_manifests(settings)])
