"""Stage register: the winner on validation persons becomes a version, and champion if it may."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from lookalike.data.loading import read_bytes
from lookalike.data.manifest import read_manifest, test_protocol
from lookalike.errors import UserError
from lookalike.progress import say
from lookalike.provenance import git_sha, locked_digests, md5_file, uncommitted
from lookalike.registry.evidence import Evaluation, Evidence, leaked
from lookalike.registry.promotion import Registry
from lookalike.registry.remeasure import remeasure
from lookalike.report.curves import cmc_curves
from lookalike.tracking import MlflowTracker
from pipelines.stage import ARTIFACTS, MANIFEST, Stage, run

PICTURES = 4  # test images that the serving gate sends
CRITERION = "mAP"  # on validation persons; one number that sees the whole ranking


def winner(arms: list[str]) -> str:
    """The arm with the best validation mAP; the first of equals."""
    scores = {}
    for arm in arms:
        path = ARTIFACTS / "evaluate" / arm / "metrics.json"
        if not path.is_file():
            raise UserError(
                f"arm {arm} of params.yaml has no {path}: add it to train_reid, evaluate and "
                "register in dvc.yaml too"
            )
        scores[arm] = json.loads(path.read_text())["validation"][CRITERION]
    return max(arms, key=scores.__getitem__)


def collect(stage: Stage, arm: str) -> Evidence:
    """Everything that the gates judge, from the stages' outputs."""
    weights = ARTIFACTS / "train_reid" / arm / "model.safetensors"
    locked = locked_digests(stage.root)
    manifest = read_manifest(MANIFEST)
    training = {
        "gan": read_manifest(ARTIFACTS / "train_gan" / "trained_on.parquet"),
        "encoder": read_manifest(ARTIFACTS / "train_encoder" / "trained_on.parquet"),
        "reid": read_manifest(weights.with_name("trained_on.parquet")),
    }
    assert isinstance(stage.tracker, MlflowTracker)
    history = pd.read_csv(ARTIFACTS / "train_gan" / "history.csv")
    distance = {"reid": "frechet_reid", "inception": "fid"}[stage.config.gan.distance_features]
    verdict = json.loads((ARTIFACTS / "validate" / "verdict.json").read_text())
    trained = json.loads(weights.with_name("run.json").read_text())
    return Evidence(
        evaluation=Evaluation.read(ARTIFACTS / "evaluate" / arm),
        weights_md5=md5_file(weights),
        locked_md5=locked.get(weights.as_posix()),
        run_status=stage.tracker.status_of(trained["run_id"]),
        data_valid=verdict["success"],
        git_sha=git_sha(stage.root),
        uncommitted=tuple(uncommitted(stage.root)),
        leaks=leaked(training, manifest),
        frechet=float(history[distance].iloc[-1]),
        pass_rates={
            kind: json.loads((ARTIFACTS / "filter" / kind / "summary.json").read_text())[
                "pass_rate"
            ]
            for kind in ("persons", "variations")
        },
    )


def work(stage: Stage) -> None:
    """Register the winner, run every gate, promote if all pass; keep the verdict either way."""
    config = stage.config
    arms = list(config.arms)
    arm = winner(arms)
    evidence = collect(stage, arm)
    query, _ = test_protocol(read_manifest(MANIFEST))
    pictures = list(read_bytes(query.head(PICTURES), stage.root))
    registry = Registry(config, Path.cwd())
    weights = ARTIFACTS / "train_reid" / arm / "model.safetensors"
    assert isinstance(stage.tracker, MlflowTracker)
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
    curves = {
        name: pd.read_csv(ARTIFACTS / "evaluate" / name / "cmc.csv")["cmc"].to_numpy()
        for name in arms
    }
    cmc_curves(curves, stage.folder / "cmc.png")
    stage.tracker.artifact(stage.folder / "verdict.json")
    stage.tracker.artifact(stage.folder / "cmc.png")
    stage.tracker.params({"gates": config.gates.model_dump(), "winner": arm})
    stage.tracker.metrics(evidence.evaluation.metrics)
    say(f"register: {registry.name} v{version} ({arm}): {reason}")


if __name__ == "__main__":
    run("register", work, [MANIFEST, Path("dvc.lock")])
