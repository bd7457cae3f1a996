"""Which arm is registered, and everything that the gates judge, read from the stages' outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lookalike.artifacts import Artifacts
from lookalike.config import KINDS, Config
from lookalike.data.manifest import read_manifest
from lookalike.errors import UserError
from lookalike.files import md5_file
from lookalike.names import BASELINE
from lookalike.provenance import git_sha, locked_digests, uncommitted
from lookalike.registry.evidence import LOCKED, Evidence, leaked, persons_seen
from lookalike.registry.paired import lower_bound
from lookalike.reid.measurement import Measurement
from lookalike.reid.ranking import CRITERION
from lookalike.report.headline import DISTANCES


@dataclass(frozen=True)
class Standing:
    """How an arm does on validation persons.

    Attributes:
        mAP: a fraction of 1.
        lower: lower confidence bound of how much better it is than the baseline; 0 for that.
        eligible: whether it may be the winner.
    """

    mAP: float  # noqa: N815 # the field's own spelling
    lower: float
    eligible: bool


@dataclass(frozen=True)
class Choice:
    """The arm that is registered.

    Attributes:
        winner: its name.
        rival: whom to compare it with: the baseline, or the best of the others where that has won;
            the winner itself where there is no other.
        standings: of every arm.
    """

    winner: str
    rival: str
    standings: Mapping[str, Standing]


def choose(artifacts: Artifacts, arms: Sequence[str], margin: float) -> Choice:
    """The winner on validation persons.

    The best of a few arms is better by chance alone: on a few dozen persons the mAP of equal arms
    differs by several points. So another arm wins only where it is shown to be better than the
    baseline by more than the margin (paired bootstrap over persons); of those, and else the
    baseline, the one with the best validation mAP, the first of equals.

    Args:
        artifacts: of `evaluate`.
        arms: those of `params.yaml`, in order, the baseline among them.
        margin: `gates.baseline_margin`.

    Raises:
        UserError: an arm was not evaluated.
    """
    standings = {}
    baseline = _validation(artifacts, BASELINE)[1]
    for arm in arms:
        score, per_query = _validation(artifacts, arm)
        lower = lower_bound(per_query, baseline, "ap")
        standings[arm] = Standing(score, lower, arm == BASELINE or lower > margin)
    winner = max((a for a in arms if standings[a].eligible), key=lambda a: standings[a].mAP)
    others = [arm for arm in arms if arm != winner]
    best = max(others, key=lambda arm: standings[arm].mAP, default=winner)
    return Choice(winner, BASELINE if BASELINE in others else best, standings)


def _validation(artifacts: Artifacts, arm: str) -> tuple[float, pd.DataFrame]:
    """An arm's mAP on validation persons, and the results per query."""
    made = artifacts.evaluate(arm)
    metrics, per_query = made.metrics, made.validation
    if not (metrics.is_file() and per_query.is_file()):
        raise UserError(
            f"arm {arm} of params.yaml has no {metrics if per_query.is_file() else per_query}: run "
            f"`dvc repro evaluate@{arm}`"
        )
    return _json(metrics)["validation"][CRITERION], pd.read_parquet(per_query)


def collect(
    artifacts: Artifacts,
    arm: str,
    root: Path,
    config: Config,
    status_of: Callable[[str], str | None],
) -> Evidence:
    """The evidence about the model of `arm`.

    Args:
        artifacts: what the stages have made, where `dvc.lock` says.
        arm: the candidate.
        root: the repository, with `dvc.lock`.
        config: `gan.distance_features`, which say what the generator's distance is called.
        status_of: the status of a tracked run; None where the store has none of that id.
    """
    trained, gan = artifacts.train_reid(arm), artifacts.train_gan
    locked = locked_digests(root)
    proven = all(locked.get(f.as_posix()) == md5_file(f) for f in (trained.model, trained.run))
    training = {
        "gan": read_manifest(gan.trained_on),
        "encoder": read_manifest(artifacts.train_encoder.trained_on),
        "reid": read_manifest(trained.trained_on),
    }
    history = pd.read_csv(gan.history)
    distance = DISTANCES[config.gan.distance_features]
    return Evidence(
        evaluation=Measurement.read(artifacts.evaluate(arm).folder),
        baseline=Measurement.read(artifacts.evaluate(BASELINE).folder),
        weights_md5=md5_file(trained.model),
        locked_md5=locked.get(trained.model.as_posix()),
        run_status=status_of(_json(trained.run)["run_id"]) or (LOCKED if proven else None),
        data_valid=_json(artifacts.validate.verdict)["success"],
        persons=persons_seen(training),
        git_sha=git_sha(root),
        uncommitted=tuple(uncommitted(root)),
        leaks=leaked(training, read_manifest(artifacts.validate.manifest)),
        frechet=float(history[distance].iloc[-1]),
        pass_rates={kind: _json(artifacts.filter(kind).summary)["pass_rate"] for kind in KINDS},
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
