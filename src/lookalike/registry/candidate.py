"""Which arm is registered, and everything that the gates judge, read from the stages' outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lookalike.config import Config
from lookalike.data.manifest import read_manifest
from lookalike.errors import UserError
from lookalike.provenance import git_sha, locked_digests, md5_file, uncommitted
from lookalike.registry.evidence import METRICS, Evidence, Measurement, leaked
from lookalike.reid.ranking import CRITERION

YARDSTICK = "baseline"  # the arm that others are compared with


def winner_and_rival(evaluations: Path, arms: Sequence[str]) -> tuple[str, str]:
    """The arm with the best validation mAP, the first of equals, and whom to compare it with.

    That is the baseline; the best of the other arms where the baseline has won; and the winner
    itself where there is no other.

    Args:
        evaluations: the folder with a folder per arm, as `evaluate` wrote them.
        arms: those of `params.yaml`, in order.

    Raises:
        UserError: an arm was not evaluated.
    """
    scores = {}
    for arm in arms:
        path = evaluations / arm / METRICS
        if not path.is_file():
            raise UserError(
                f"arm {arm} of params.yaml has no {path}: run `dvc repro evaluate@{arm}`"
            )
        scores[arm] = json.loads(path.read_text())["validation"][CRITERION]
    winner = max(arms, key=scores.__getitem__)
    others = [arm for arm in arms if arm != winner]
    if YARDSTICK in others:
        return winner, YARDSTICK
    return winner, max(others, key=scores.__getitem__, default=winner)


def spread(queries: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` rows at even distances: neighbours show one person."""
    positions = np.linspace(0, len(queries) - 1, min(count, len(queries)))
    return queries.iloc[np.unique(positions.round().astype(np.intp))]


def collect(
    artifacts: Path, arm: str, root: Path, config: Config, status_of: Callable[[str], str | None]
) -> Evidence:
    """The evidence about the model of `arm`.

    Args:
        artifacts: the folder that the stages write to, as `dvc.lock` names it.
        arm: the candidate.
        root: the repository, with `dvc.lock`.
        config: `gan.distance_features`, which say what the generator's distance is called.
        status_of: the status of a tracked run.
    """
    weights = artifacts / "train_reid" / arm / "model.safetensors"
    training = {
        "gan": read_manifest(artifacts / "train_gan" / "trained_on.parquet"),
        "encoder": read_manifest(artifacts / "train_encoder" / "trained_on.parquet"),
        "reid": read_manifest(weights.with_name("trained_on.parquet")),
    }
    history = pd.read_csv(artifacts / "train_gan" / "history.csv")
    distance = {"reid": "frechet_reid", "inception": "fid"}[config.gan.distance_features]
    return Evidence(
        evaluation=Measurement.read(artifacts / "evaluate" / arm),
        weights_md5=md5_file(weights),
        locked_md5=locked_digests(root).get(weights.as_posix()),
        run_status=status_of(_json(weights.with_name("run.json"))["run_id"]),
        data_valid=_json(artifacts / "validate" / "verdict.json")["success"],
        git_sha=git_sha(root),
        uncommitted=tuple(uncommitted(root)),
        leaks=leaked(training, read_manifest(artifacts / "validate" / "manifest.parquet")),
        frechet=float(history[distance].iloc[-1]),
        pass_rates={
            kind: _json(artifacts / "filter" / kind / "summary.json")["pass_rate"]
            for kind in ("persons", "variations")
        },
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
