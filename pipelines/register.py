"""Stage register: the winner on validation persons becomes a version, and champion if it may."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from lookalike.data.loading import read_bytes
from lookalike.data.manifest import read_manifest, test_protocol
from lookalike.progress import say
from lookalike.registry.candidate import collect, spread, winner_and_rival
from lookalike.registry.promotion import Registry
from lookalike.registry.remeasure import remeasure
from lookalike.registry.side_by_side import draw_side_by_side
from lookalike.report.curves import cmc_curves
from lookalike.tracking import MlflowTracker
from pipelines.stage import ARTIFACTS, MANIFEST, Stage, run

PICTURES = 4  # test images that the serving gate sends


def work(stage: Stage) -> None:
    """Register the winner, run every gate, promote if all pass; keep the verdict either way."""
    config = stage.config
    arms = list(config.arms)
    evaluations = ARTIFACTS / "evaluate"
    arm, rival = winner_and_rival(evaluations, arms)
    assert isinstance(stage.tracker, MlflowTracker)
    evidence = collect(ARTIFACTS, arm, stage.root, config, stage.tracker.status_of)
    query, gallery = test_protocol(read_manifest(MANIFEST))
    pictures = list(read_bytes(spread(query, PICTURES), stage.root))
    registry = Registry(config, Path.cwd())
    weights = ARTIFACTS / "train_reid" / arm / "model.safetensors"
    version = registry.register(stage.tracker, arm, weights, evidence, pictures)
    decision = registry.promote(version, remeasure=remeasure(config, MANIFEST, Path.cwd()))

    failed = [gate.name for gate in decision.gates if not gate.passed]
    reason = f"failed: {', '.join(failed)}" if failed else decision.action
    record = {
        "winner": arm,
        "model": registry.name,
        "version": version,
        "promoted": decision.action == "promoted",
        "champion": decision.champion_after,
        "gates": [gate.as_dict() for gate in decision.gates],
        "reason": reason,
    }
    (stage.folder / "verdict.json").write_text(json.dumps(record, indent=2) + "\n")
    curves = {name: pd.read_csv(evaluations / name / "cmc.csv")["cmc"].to_numpy() for name in arms}
    cmc_curves(curves, stage.folder / "cmc.png")
    size = config.generate.height, config.generate.width
    compared, sheet = (rival, arm), stage.folder / "side_by_side.png"
    draw_side_by_side(evaluations, compared, (query, gallery), stage.root, size, sheet)
    for name in ("verdict.json", "cmc.png", "side_by_side.png"):
        stage.tracker.artifact(stage.folder / name)
    stage.tracker.params({"gates": config.gates.model_dump(), "winner": arm})
    stage.tracker.metrics(evidence.evaluation.metrics)
    stage.dataset(query, "query")
    say(f"register: {registry.name} v{version} ({arm}): {reason}")


if __name__ == "__main__":
    run("register", work, [MANIFEST, Path("dvc.lock")])
