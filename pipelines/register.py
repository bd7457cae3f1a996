"""Stage register: the winner on validation persons becomes a version, and champion if it may."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from lookalike.data.manifest import read_manifest, test_protocol
from lookalike.progress import say
from lookalike.registry.gates import REGISTER_AGAIN
from lookalike.registry.side_by_side import draw_side_by_side
from lookalike.registry.winner import judge_winner
from lookalike.report.curves import cmc_curves
from lookalike.tracking import MlflowTracker
from lookalike.workspace import experiment
from pipelines.stage import ARTIFACTS, MANIFEST, Stage, run


def work(stage: Stage) -> None:
    """Register the winner, run every gate, promote if all pass; keep the verdict either way."""
    config = stage.config
    arms = list(config.arms)
    evaluations = ARTIFACTS / "evaluate"
    # These folders are dependencies, and a clone would lack what an arm has left that is no more.
    for stage_folder in (evaluations, ARTIFACTS / "train_reid"):
        for folder in stage_folder.iterdir():
            if folder.name not in arms:
                shutil.rmtree(folder)
    assert isinstance(stage.tracker, MlflowTracker)
    # An experiment is judged and changes nothing that others use, unless its parameters say so.
    held_back = bool(experiment()) and not config.registry.promote_experiments
    judged = judge_winner(ARTIFACTS, Path.cwd(), config, stage.tracker, dry_run=held_back)
    choice, decision, reason = judged.choice, judged.decision, judged.reason
    if held_back and decision.action == "promoted":
        reason = f"passed as experiment {experiment()}, not promoted"
    record = {
        "winner": choice.winner,
        "validation": {name: vars(standing) for name, standing in choice.standings.items()},
        "model": judged.model,
        "version": judged.version,
        "promoted": decision.action == "promoted" and not held_back,
        "champion": decision.champion_before if held_back else decision.champion_after,
        "gates": [gate.as_dict() for gate in decision.gates],
        "reason": reason,
    }
    (stage.folder / "verdict.json").write_text(json.dumps(record, indent=2) + "\n")
    curves = {name: pd.read_csv(evaluations / name / "cmc.csv")["cmc"].to_numpy() for name in arms}
    cmc_curves(curves, stage.folder / "cmc.png")
    size = config.generate.height, config.generate.width
    query, gallery = test_protocol(read_manifest(MANIFEST))
    compared, sheet = (choice.rival, choice.winner), stage.folder / "side_by_side.png"
    draw_side_by_side(evaluations, compared, (query, gallery), stage.root, size, sheet)
    for name in ("verdict.json", "cmc.png", "side_by_side.png"):
        stage.tracker.artifact(stage.folder / name)
    stage.tracker.params({"gates": config.gates.model_dump(), "winner": choice.winner})
    stage.tracker.metrics(judged.evidence.evaluation.metrics)
    stage.dataset(query, "query")
    say(f"register: {judged.model} v{judged.version} ({choice.winner}): {reason}")
    for gate in judged.failed:
        say(f"register: {gate.name}: {gate.reason}")
    if held_back and all(gate.name == "integrity.code" for gate in judged.failed):
        say(
            f"register: to promote it: `dvc exp apply {experiment()}`, `git commit --all`, then "
            f"{REGISTER_AGAIN}"
        )


if __name__ == "__main__":
    run("register", work, [MANIFEST, Path("dvc.lock")])
