"""Promotion gates: pure functions from measurements to verdicts.

Every gate is evaluated, none is skipped; a value that is missing or not a number fails. Nothing
here reads a file or asks the registry, so each gate can be tested with numbers.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lookalike.config import KINDS, GatesConfig
from lookalike.registry.evidence import FINISHED, LOCKED, Evidence
from lookalike.registry.paired import lower_bound
from lookalike.registry.verdict import Gate
from lookalike.reid.measurement import Measurement
from lookalike.reid.onnx_export import TOLERANCE as ONNX_TOLERANCE

UNIT_TOLERANCE = 1e-3  # of an embedding's length; JSON rounds little, bf16 more
REGISTER_AGAIN = "`dvc repro --force --single-item register`"
TRAIN_AGAIN = "`dvc repro --force --single-item train_reid@ARM`, then `dvc repro`"
TRAINED = ("gan", "encoder", "reid")
COLUMNS = {"rank_1": "rank_1", "mAP": "ap"}  # metrics that are compared, and theirs per query


@dataclass(frozen=True)
class ServingCheck:
    """What one request through the registered model gave.

    Attributes:
        embeddings: float [N, D] of the pictures that were sent; None if the request failed.
        latency_ms: of a request with one picture, the fastest of several: other work on the
            machine only adds to it.
        size_mb: of the registered model's files, 10^6 bytes; without the ONNX graph, which holds
            the same weights once more and is not what the server loads.
        onnx_difference: the largest between the components of these embeddings and those of the
            registered ONNX graph; NaN where there is none, or it failed.
        error: why the request failed; empty if it did not.
    """

    embeddings: npt.NDArray[np.floating] | None
    latency_ms: float
    size_mb: float
    onnx_difference: float
    error: str = ""


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _bounded(
    name: str, value: float | None, low: float = -math.inf, high: float = math.inf
) -> Gate:
    """low <= value <= high; comparisons with NaN are false, so NaN fails."""
    number = _number(value)
    limits = [] if low == -math.inf else [f">= {low:g}"]
    limits += [] if high == math.inf else [f"<= {high:g}"]
    bound = " and ".join(limits)
    passed = math.isfinite(number) and low <= number <= high
    if value is None:
        reason = "missing"
    elif not math.isfinite(number):
        reason = f"{number} is not a finite number"
    else:
        reason = f"{number:.4g} is {'' if passed else 'not '}{bound}"
    return Gate(name, None if value is None else number, bound, passed, reason)


def _equal(name: str, value: str | None, bound: str, otherwise: str) -> Gate:
    """`otherwise` says why another value fails."""
    passed = bool(value) and value == bound
    reason = f"is {value}" if passed else f"{otherwise} (is {value or 'missing'})"
    return Gate(name, value, bound, passed, reason)


def integrity(evidence: Evidence, loads_safely: bool, rolled_back: bool) -> list[Gate]:
    """The model is the one that the pipeline made, from committed code and validated data.

    Args:
        evidence: what registration recorded.
        loads_safely: whether the registered files loaded with pickle forbidden.
        rolled_back: whether somebody took the alias from this version, and nobody asks for it now.
    """
    files = ", ".join(evidence.uncommitted)
    return [
        _equal(
            "integrity.weights",
            evidence.weights_md5,
            evidence.locked_md5 or "an MD5 in dvc.lock",
            "the weights are not what dvc.lock names; run `dvc repro`",
        ),
        _trained(evidence.run_status),
        _equal(
            "integrity.data",
            None if evidence.data_valid is None else str(evidence.data_valid).lower(),
            "true",
            "the data did not pass validation; see artifacts/validate",
        ),
        Gate(
            "integrity.code",
            evidence.git_sha,
            "a commit without changes",
            evidence.git_sha not in ("", "unknown") and not files,
            _uncommitted(evidence),
        ),
        _equal(
            "integrity.no_pickle",
            str(loads_safely).lower(),
            "true",
            "the registered model does not load with pickle forbidden",
        ),
        Gate(
            "integrity.not_rolled_back",
            "rolled back" if rolled_back else "no",
            "no",
            not rolled_back,
            "was rolled back; `lookalike promote` takes it nevertheless"
            if rolled_back
            else "nobody rolled it back, or it is asked for by name",
        ),
    ]


def _uncommitted(evidence: Evidence) -> str:
    """What is not committed, and the commands that mend it."""
    if evidence.git_sha in ("", "unknown"):
        return f"there is no commit: `git init`, commit everything, then {REGISTER_AGAIN}"
    if not evidence.uncommitted:
        return "everything is committed"
    # Not file by file: `git add` refuses a name whose removal or renaming is staged already.
    places = shlex.join(sorted({name.partition("/")[0] for name in evidence.uncommitted}))
    return (
        f"not committed: {', '.join(evidence.uncommitted)}; "
        f"`git add --all {places}`, `git commit`, then {REGISTER_AGAIN}"
    )


def _trained(status: str | None) -> Gate:
    """The stage that trained the model ended well: as MLflow knows, or else as DVC does."""
    if status == LOCKED:
        reason = "the run is in another MLflow store; dvc.lock has the finished stage"
    elif status == FINISHED:
        reason = f"is {status}"
    elif status:
        reason = f"the training run did not finish (is {status})"
    else:
        reason = (
            "the training run is not in this MLflow store, and dvc.lock does not name model and "
            f"run.json as they are; run `dvc pull`, or train here: {TRAIN_AGAIN}"
        )
    bound = f"{FINISHED} or {LOCKED}"
    return Gate("integrity.run", status, bound, status in (FINISHED, LOCKED), reason)


def leakage(evidence: Evidence) -> list[Gate]:
    """No held-out person or image among what the GAN, the encoder and the re-ID model saw."""
    gates = []
    for network in TRAINED:
        leaks = evidence.leaks.get(network)
        if leaks is None:
            reason = "its training rows were not recorded"
        elif leaks:
            shown = ", ".join(leaks[:5]) + (", ..." if len(leaks) > 5 else "")
            reason = f"trained on held-out data: {shown}"
        else:
            reason = "none"
        value = None if leaks is None else float(len(leaks))
        gates.append(Gate(f"leakage.{network}", value, "0 held-out", leaks == (), reason))
    return gates


def absolute(evidence: Evidence, config: GatesConfig) -> list[Gate]:
    """Bounds that every champion keeps; pass rates within a band, for a filter may be too kind."""
    low, high = config.pass_rate
    metrics = evidence.evaluation.metrics
    return [
        _bounded("absolute.rank_1", metrics.get("rank_1"), low=config.min_rank1),
        _bounded("absolute.mAP", metrics.get("mAP"), low=config.min_map),
        _bounded("absolute.frechet", evidence.frechet, low=0.0, high=config.max_frechet),
        *(
            _bounded(f"absolute.pass_rate.{kind}", evidence.pass_rates.get(kind), low, high)
            for kind in KINDS
        ),
    ]


def baseline(evidence: Evidence, config: GatesConfig) -> list[Gate]:
    """Shown not to be worse than the baseline arm of the same run by more than the margin.

    The lower confidence bound of the paired difference on the test persons, as for the champion.
    The baseline itself differs by nothing from itself, and passes.
    """
    gates = []
    for name, column in COLUMNS.items():
        bound, other = f">= {-config.baseline_margin:g}", evidence.baseline
        if other is None:
            reason = f"the baseline arm's evaluation was not recorded; {REGISTER_AGAIN}"
            gate = Gate(f"baseline.{name}", None, bound, False, reason)
        else:
            lower = lower_bound(evidence.evaluation.per_query, other.per_query, column)
            gate = _bounded(f"baseline.{name}", lower, low=-config.baseline_margin)
        gates.append(gate)
    return gates


def relative(
    candidate: Measurement, champion: Measurement | None, config: GatesConfig
) -> list[Gate]:
    """Not worse than the champion by more than the margin, on the same evaluation data."""
    if champion is None:
        return [_without_champion("relative", config)]
    gates = []
    for name in COLUMNS:
        gate = _comparable(f"relative.{name}", candidate, champion)
        if gate.passed:
            # An unknown champion's value must not open the gate: NaN as a bound fails.
            low = _number(champion.metrics.get(name)) - config.champion_margin
            gate = _bounded(f"relative.{name}", candidate.metrics.get(name), low)
        gates.append(gate)
    return gates


def statistical(
    candidate: Measurement, champion: Measurement | None, config: GatesConfig
) -> list[Gate]:
    """The difference's lower confidence bound is above minus the margin: paired bootstrap."""
    if champion is None:
        return [_without_champion("statistical", config)]
    gates = []
    margin = config.champion_margin
    for name, column in COLUMNS.items():
        gate = _comparable(f"statistical.{name}", candidate, champion)
        if gate.passed:
            lower = lower_bound(candidate.per_query, champion.per_query, column)
            gate = _bounded(f"statistical.{name}", lower, low=-margin)
        gates.append(gate)
    return gates


def slices(candidate: Measurement, config: GatesConfig) -> list[Gate]:
    """Rank-1 of each camera's queries: a good mean may hide a blind camera."""
    cameras = candidate.rank_1_by_camera
    if not cameras:
        return [_bounded("slices.rank_1", None, low=config.min_camera_rank1)]
    return [
        _bounded(f"slices.rank_1.camera_{camera}", value, low=config.min_camera_rank1)
        for camera, value in sorted(cameras.items())
    ]


def operational(check: ServingCheck, config: GatesConfig) -> list[Gate]:
    """The registered model answers a request, well-formed, in time, and is not too large."""
    embeddings = check.embeddings
    answered = embeddings is not None and embeddings.ndim == 2 and embeddings.size > 0
    finite = bool(answered and embeddings is not None and np.isfinite(embeddings).all())
    deviation = None
    if answered and embeddings is not None:
        deviation = float(np.abs(np.linalg.norm(embeddings, axis=1) - 1).max())
    return [
        Gate(
            "operational.request",
            "answered" if answered else "failed",
            "answered",
            answered,
            check.error or ("embeddings came back" if answered else "no embeddings came back"),
        ),
        _equal("operational.finite", str(finite).lower(), "true", "embeddings are not finite"),
        _bounded("operational.unit_length_deviation", deviation, high=UNIT_TOLERANCE),
        _bounded("operational.latency_ms", check.latency_ms, 0.0, config.max_latency_ms),
        _bounded("operational.size_mb", check.size_mb, 0.0, config.max_size_mb),
        _bounded("operational.onnx", check.onnx_difference, 0.0, ONNX_TOLERANCE),
    ]


def evaluate_gates(
    evidence: Evidence,
    champion: Measurement | None,
    check: ServingCheck,
    loads_safely: bool,
    rolled_back: bool,
    config: GatesConfig,
) -> list[Gate]:
    """All gates, in a fixed order; `champion` is None where there is none."""
    candidate = evidence.evaluation
    return [
        *integrity(evidence, loads_safely, rolled_back),
        *leakage(evidence),
        *absolute(evidence, config),
        *baseline(evidence, config),
        *relative(candidate, champion, config),
        *statistical(candidate, champion, config),
        *slices(candidate, config),
        *operational(check, config),
    ]


def _without_champion(family: str, config: GatesConfig) -> Gate:
    policy: Literal["absolute-only", "never"] = config.first_champion
    allowed = policy == "absolute-only"
    reason = "no champion yet: the absolute gates decide"
    if not allowed:
        reason = "no champion yet, and gates.first_champion is never"
    return Gate(f"{family}.champion", "none", "policy absolute-only", allowed, reason)


def _comparable(name: str, candidate: Measurement, champion: Measurement) -> Gate:
    same = candidate.fingerprint == champion.fingerprint
    reason = (
        "same evaluation data and settings"
        if same
        else "the champion was measured on other data or settings; measure it again on these"
    )
    return Gate(name, candidate.fingerprint, champion.fingerprint, same, reason)
