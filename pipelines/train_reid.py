"""Stage train_reid@ARM: the re-ID model on real images and those that the arm adds."""

from __future__ import annotations

from functools import partial

import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, validation_protocol, write_manifest
from lookalike.errors import UserError
from lookalike.names import counted
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate
from lookalike.reid.label_policies import taught_by
from lookalike.reid.model import ReidNet, save_reid
from lookalike.reid.start import starting_weights
from lookalike.reid.targets import Targets
from lookalike.reid.trainer import train_reid
from lookalike.synthesis.arms import real_rows, select
from lookalike.training.session import Session
from pipelines.added import added_manifests
from pipelines.content import content
from pipelines.stage import BASELINE_MODEL, MANIFEST, Stage, chosen_arm, run

# Of the curves that validation draws. What `evaluate.ranks` reports is no reason to train again.
RANKS = (1, 5, 10)


def work(stage: Stage, name: str) -> None:
    """Train the arm `name`, measuring on the validation persons along the way."""
    config, reid, arm = stage.config, stage.config.reid, stage.config.arms[name]
    policy = arm.policy
    manifest = read_manifest(MANIFEST)
    added = {path: select(read_manifest(path), arm) for path in added_manifests(arm)}
    empty = [path for path, kept in added.items() if kept.empty]
    if empty and "none" not in arm.images:
        raise UserError(
            f"{empty[0]} names no image: the filters kept nothing for arms.{name} to add; relax "
            f"filter.*, or take {empty[0].parent.name} out of arms.{name}.images"
        )
    rows = pd.concat([real_rows(manifest, arm), *added.values()], ignore_index=True)
    persons = rows["person_id"].tolist()
    generated = (rows["origin"] != "real").to_numpy()

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
            "synthetic_images": int(generated.sum()),
        }
    )
    stage.dataset(rows, "training", name)
    initial, start = starting_weights(reid, stage.root)
    # What decides which weights are best counts too: flip and the validation persons.
    held_out = content(manifest[manifest["split"] == "val"])
    teacher = BASELINE_MODEL if arm.asks_baseline else None
    soft = taught_by(teacher, images[generated], session.device)
    taught = content(teacher) if teacher else ""
    resume = stage.resume(
        reid, config.seed, content(rows), start, config.evaluate.flip, held_out, policy, taught
    )
    model, history = train_reid(
        reid,
        images,
        persons,
        generated=generated,
        policy=policy,
        soft=soft,
        session=session,
        resume=resume,
        tracker=stage.tracker,
        initial=initial,
        validate=validate,
    )
    if session.is_main:
        made = ARTIFACTS.train_reid(name)
        classes = Targets(persons, generated, policy, soft).classes
        save_reid(made.model, model, reid, classes)
        table = pd.DataFrame(history)
        table.to_csv(made.history, index=False)
        stage.tracker.artifact(made.history)
        # By itself, because DVC's plots cannot leave out the rows between two validations.
        measured = table.filter(regex="^images$|^validation_").dropna()
        measured.to_csv(made.validation, index=False)
        write_manifest(rows, made.trained_on)
        say(f"{stage.name}: {counted(len(rows), 'image')} of {counted(len(classes), 'class')}")
        resume.discard()


if __name__ == "__main__":
    arm, settings = chosen_arm()
    teachers = [BASELINE_MODEL] if settings.asks_baseline else []
    inputs = [MANIFEST, *added_manifests(settings), *teachers]
    run(f"train_reid@{arm}", partial(work, name=arm), inputs)
