"""Stage validate: Great Expectations over the manifest; what passes is what all others read."""

from __future__ import annotations

import json

import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.data.expectations import validate_manifest
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.files import write_text
from lookalike.progress import say
from pipelines.added import note_baseline
from pipelines.stage import Stage, run


def work(stage: Stage) -> None:
    """Validate, keep the verdict whatever it is, and stop here if it is negative."""
    prepared, made = ARTIFACTS.prepare, ARTIFACTS.validate
    manifest = read_manifest(prepared.manifest)
    problems = pd.read_parquet(prepared.problems)
    verdict = validate_manifest(manifest, problems, stage.config.data, made.docs)
    write_text(made.verdict, json.dumps(verdict.to_json(), indent=2) + "\n")
    stage.tracker.params({"data": stage.config.data.model_dump()})
    stage.tracker.artifact(made.verdict)
    stage.tracker.artifact(made.docs, "data_docs")
    stage.tracker.metrics({"success": float(verdict.success), "images": len(verdict.accepted)})
    stage.dataset(manifest, "validation", prepared.folder.name)
    verdict.check()
    write_manifest(verdict.accepted, made.manifest)
    nothing = ARTIFACTS.filter("none")  # what an arm without generated images adds
    write_manifest(verdict.accepted.head(0), nothing.manifest)
    note_baseline(nothing, None)
    say(f"validate: {verdict.summary()}")


if __name__ == "__main__":
    run("validate", work, [ARTIFACTS.prepare.manifest, ARTIFACTS.prepare.problems])
