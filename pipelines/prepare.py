"""Stage prepare: the data folder becomes one manifest; validation persons are held out."""

from __future__ import annotations

from pathlib import Path

from lookalike.artifacts import ARTIFACTS
from lookalike.data.manifest import write_manifest
from lookalike.data.prepare import prepare_manifest
from lookalike.files import replacing
from lookalike.names import counted
from lookalike.progress import say
from pipelines.stage import Stage, run


def work(stage: Stage) -> None:
    """Scan, decode every image once, and write the manifest and the table of problems."""
    config, made = stage.config, ARTIFACTS.prepare
    manifest, problems = prepare_manifest(stage.root / "data", stage.root, config.data, config.seed)
    write_manifest(manifest, made.manifest)
    with replacing(made.problems) as partial:
        problems.to_parquet(partial, index=False)
    counts = manifest["split"].value_counts().to_dict()
    persons = manifest.groupby("split")["person_id"].nunique().to_dict()
    stage.tracker.params({"data": config.data.model_dump(), "seed": config.seed})
    stage.tracker.metrics(
        {f"images_{split}": count for split, count in counts.items()}
        | {f"persons_{split}": count for split, count in persons.items()}
        | {"problems": len(problems)}
    )
    stage.dataset(manifest, "source", stage.folder.name)
    summary = ", ".join(
        f"{split} {counted(count, 'image')}" for split, count in sorted(counts.items())
    )
    say(f"prepare: {summary}; {counted(len(problems), 'problem')}")


if __name__ == "__main__":
    run("prepare", work, [Path("data")])
