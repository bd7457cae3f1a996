"""Stage validate: Great Expectations over the manifest; what passes is what all others read."""

from __future__ import annotations

import json

import pandas as pd

from lookalike.config import ArmConfig
from lookalike.data.expectations import validate_manifest
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.progress import say
from pipelines.added import added_manifests, note_baseline
from pipelines.stage import ARTIFACTS, Stage, run

INPUTS = [ARTIFACTS / "prepare" / "manifest.parquet", ARTIFACTS / "prepare" / "problems.parquet"]


def work(stage: Stage) -> None:
    """Validate, keep the verdict whatever it is, and stop here if it is negative."""
    manifest = read_manifest(INPUTS[0])
    problems = pd.read_parquet(INPUTS[1])
    docs = stage.folder / "docs"
    verdict = validate_manifest(manifest, problems, stage.config.data, docs)
    (stage.folder / "verdict.json").write_text(json.dumps(verdict.to_json(), indent=2) + "\n")
    stage.tracker.params({"data": stage.config.data.model_dump()})
    stage.tracker.artifact(stage.folder / "verdict.json")
    stage.tracker.artifact(docs, "data_docs")
    stage.tracker.metrics({"success": float(verdict.success), "images": len(verdict.accepted)})
    stage.dataset(manifest, "validation", INPUTS[0].parent.name)
    verdict.check()
    write_manifest(verdict.accepted, stage.folder / "manifest.parquet")
    (nothing,) = added_manifests(ArmConfig(images=("none",)))
    write_manifest(verdict.accepted.head(0), nothing)
    note_baseline(nothing, None)
    say(f"validate: {verdict.summary()}")


if __name__ == "__main__":
    run("validate", work, INPUTS)
