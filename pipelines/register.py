"""Stage register: the winner on validation persons becomes a version, and champion if it may."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.config import Config
from lookalike.data.manifest import read_manifest, test_protocol
from lookalike.files import write_text
from lookalike.progress import say
from lookalike.registry.decisions import PROMOTED, UNCHANGED, Decision
from lookalike.registry.gates import REGISTER_AGAIN
from lookalike.registry.verdict import failures
from lookalike.registry.winner import judge_winner
from lookalike.reid.pictures.side_by_side import draw_side_by_side
from lookalike.report.curves import cmc_curves
from lookalike.tracking import MlflowTracker
from lookalike.workspace import experiment
from pipelines.stage import MANIFEST, Stage, run


def work(stage: Stage) -> None:
    """Register the winner, run every gate, promote if all pass; keep the verdict either way."""
    config, made = stage.config, ARTIFACTS.register
    arms = list(config.arms)
    # These folders are dependencies, and a clone would lack what an arm has left that is no more.
    for of_arms in ("evaluate", "train_reid"):
        for folder in ARTIFACTS.of(of_arms).iterdir():
            if folder.name not in arms:
                shutil.rmtree(folder)
    assert isinstance(stage.tracker, MlflowTracker)
    held_back = is_held_back(config)
    judged = judge_winner(ARTIFACTS, Path.cwd(), config, stage.tracker, dry_run=held_back)
    choice, decision = judged.choice, judged.decision
    done = outcome(decision, judged.reason, held_back)
    record = {
        "winner": choice.winner,
        "validation": {name: vars(standing) for name, standing in choice.standings.items()},
        "model": judged.model,
        "version": judged.version,
        **done,
        "gates": [gate.as_dict() for gate in decision.gates],
    }
    write_text(made.verdict, json.dumps(record, indent=2) + "\n")
    curves = {name: pd.read_csv(ARTIFACTS.evaluate(name).cmc)["cmc"].to_numpy() for name in arms}
    cmc_curves(curves, made.cmc)
    size = config.generate.height, config.generate.width
    query, gallery = test_protocol(read_manifest(MANIFEST))
    compared, sides = (choice.rival, choice.winner), (query, gallery)
    draw_side_by_side(ARTIFACTS, compared, sides, stage.root, size, made.side_by_side)
    for path in (made.verdict, made.cmc, made.side_by_side):
        stage.tracker.artifact(path)
    stage.tracker.params({"gates": config.gates.model_dump(), "winner": choice.winner})
    stage.tracker.metrics(judged.evidence.evaluation.metrics)
    stage.dataset(query, "query")
    say(f"register: {judged.model} v{judged.version} ({choice.winner}): {done['reason']}")
    for gate in judged.failed:
        say(f"register: {gate.name}: {gate.reason}")
    if held_back and promotable(decision):
        say(
            f"register: to promote it: `dvc exp apply {experiment()}`, `git commit --all`, then "
            f"{REGISTER_AGAIN}"
        )


def is_held_back(config: Config) -> bool:
    """Whether this is an experiment whose parameters do not say that it may promote.

    It is judged, and changes nothing that others use.
    """
    return bool(experiment()) and not config.registry.promote_experiments


def outcome(decision: Decision, reason: str, held_back: bool) -> dict[str, object]:
    """What came of a decision, for the verdict: `promoted`, `champion` (a version) and `reason`."""
    promoted = decision.action == PROMOTED
    if promoted and held_back:
        reason = f"passed as experiment {experiment()}, not promoted"
    champion = decision.champion_before if held_back else decision.champion_after
    return {"promoted": promoted and not held_back, "champion": champion, "reason": reason}


def promotable(decision: Decision) -> bool:
    """Whether committing is all that it takes to make the version of an experiment champion."""
    return decision.action != UNCHANGED and failures(decision.gates).keys() <= {"integrity.code"}


if __name__ == "__main__":
    run("register", work, [MANIFEST, Path("dvc.lock")])
