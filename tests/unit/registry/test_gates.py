"""Every gate passes, fails, and fails on what is missing or not a number."""

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lookalike.config import GatesConfig
from lookalike.provenance import uncommitted
from lookalike.registry import gates
from lookalike.registry.evidence import Evidence
from lookalike.registry.verdict import failures
from lookalike.reid.measurement import Measurement

NAN = float("nan")
CONFIG = GatesConfig(
    min_rank1=0.5,
    min_map=0.3,
    max_frechet=2.0,
    pass_rate=(0.2, 0.9),
    min_camera_rank1=0.4,
    baseline_margin=0.01,
    champion_margin=0.01,
    max_latency_ms=500,
    max_size_mb=200,
    first_champion="absolute-only",
)


def evaluation(shift: float = 0.0, fingerprint: str = "same", persons: int = 20) -> Measurement:
    """Two queries per person, one per camera; `shift` moves every AP."""
    rng = np.random.default_rng(3)
    rows = [(f"{p:04d}_{c}", f"{p:04d}", c) for p in range(persons) for c in (1, 2)]
    frame = pd.DataFrame(rows, columns=["image_id", "person_id", "camera_id"])
    frame["ap"] = rng.uniform(0.3, 0.7, len(frame)) + shift
    frame["rank_1"] = (rng.uniform(size=len(frame)) < 0.8).astype(float)
    metrics = {"rank_1": float(frame["rank_1"].mean()), "mAP": float(frame["ap"].mean())}
    return Measurement(fingerprint, metrics, frame)


def evidence(**changes: object) -> Evidence:
    """Of the baseline arm itself, unless it is told otherwise."""
    own = changes.get("evaluation", evaluation())
    assert isinstance(own, Measurement)
    good = Evidence(
        evaluation=own,
        weights_md5="abc",
        locked_md5="abc",
        run_status="FINISHED",
        data_valid=True,
        git_sha="0123",
        uncommitted=(),
        leaks={"gan": (), "encoder": (), "reid": ()},
        frechet=1.0,
        pass_rates={"persons": 0.5, "variations": 0.6},
        baseline=own,
    )
    return dataclasses.replace(good, **changes)


def serving(**changes: object) -> gates.ServingCheck:
    unit = np.full((2, 4), 0.5)
    good = gates.ServingCheck(embeddings=unit, latency_ms=20.0, size_mb=95.0, onnx_difference=1e-6)
    return dataclasses.replace(good, **changes)


def judge(
    ev: Evidence | None = None,
    champion: Measurement | None = None,
    check: gates.ServingCheck | None = None,
    loads: bool = True,
    config: GatesConfig = CONFIG,
    rolled_back: bool = False,
) -> set[str]:
    """Names of the gates that fail; every gate must give a reason and be valid JSON."""
    verdicts = gates.evaluate_gates(
        ev or evidence(), champion, check or serving(), loads, rolled_back, config
    )
    assert all(g.reason and g.bound for g in verdicts)
    assert len({g.name for g in verdicts}) == len(verdicts)
    json.dumps([g.as_dict() for g in verdicts], allow_nan=False)
    return set(failures(verdicts))


def with_metrics(**values: float) -> Evidence:
    base = evaluation()
    return evidence(evaluation=dataclasses.replace(base, metrics={**base.metrics, **values}))


def test_all_pass_without_and_with_a_champion() -> None:
    assert judge() == set()
    assert judge(champion=evaluation()) == set()


def test_what_was_rolled_back_stays_so() -> None:
    assert judge(rolled_back=True) == {"integrity.not_rolled_back"}


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"weights_md5": "other"}, "integrity.weights"),
        ({"locked_md5": None}, "integrity.weights"),
        ({"weights_md5": "", "locked_md5": ""}, "integrity.weights"),
        ({"run_status": "KILLED"}, "integrity.run"),
        ({"run_status": None}, "integrity.run"),
        ({"data_valid": False}, "integrity.data"),
        ({"data_valid": None}, "integrity.data"),
        ({"uncommitted": ("src/lookalike/cli.py",)}, "integrity.code"),
        ({"git_sha": "unknown"}, "integrity.code"),
        ({"leaks": {"gan": ("person 0002",), "encoder": (), "reid": ()}}, "leakage.gan"),
        ({"leaks": {"gan": (), "reid": ()}}, "leakage.encoder"),
        ({"leaks": {"gan": (), "encoder": (), "reid": ("image a",)}}, "leakage.reid"),
        ({"frechet": 2.1}, "absolute.frechet"),
        ({"frechet": NAN}, "absolute.frechet"),
        ({"frechet": -1.0}, "absolute.frechet"),
        ({"frechet": None}, "absolute.frechet"),
        ({"pass_rates": {"persons": 0.1, "variations": 0.5}}, "absolute.pass_rate.persons"),
        ({"pass_rates": {"persons": 0.5, "variations": 1.0}}, "absolute.pass_rate.variations"),
        ({"pass_rates": {"persons": NAN, "variations": 0.5}}, "absolute.pass_rate.persons"),
        ({"pass_rates": {"persons": 0.5}}, "absolute.pass_rate.variations"),
    ],
)
def test_each_piece_of_evidence_fails_its_own_gate(
    changes: dict[str, object], failing: str
) -> None:
    assert judge(evidence(**changes)) == {failing}


def test_the_command_that_commits_what_is_not_works(tmp_path: Path) -> None:
    """For a changed, a new, a deleted and a renamed file, and names that git would quote."""

    def shell(command: str) -> None:
        subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)

    def commit() -> None:
        shell("git -c user.name=t -c user.email=t@example.org commit -qm x")

    shell("git init -q; mkdir src; touch params.yaml")
    shell("for name in old changed gone 'a blank'; do echo $name > src/\"$name\".py; done")
    shell("git add .")
    commit()
    assert uncommitted(tmp_path) == []
    shell("git mv src/old.py src/new.py; echo 2 > src/changed.py; rm src/gone.py")
    shell("echo 3 > 'src/a blank.py'; echo 4 > src/Zoë.py; echo 5 > params.yaml")
    changed = uncommitted(tmp_path)
    names = ("a blank", "changed", "gone", "new", "old", "Zoë")
    assert changed == sorted(["params.yaml", *(f"src/{name}.py" for name in names)])
    verdicts = gates.integrity(evidence(uncommitted=tuple(changed)), True, False)
    command = failures(verdicts)["integrity.code"].split("`")[1]
    assert command == "git add --all params.yaml src"
    shell(command)
    commit()
    assert uncommitted(tmp_path) == []


def test_a_run_of_another_machine_is_judged_by_dvcs_lock() -> None:
    """After `dvc pull` the weights are here, and the run that made them is not."""

    def verdict(status: str | None) -> str | None:
        verdicts = gates.integrity(evidence(run_status=status), True, False)
        return failures(verdicts).get("integrity.run")

    assert verdict("LOCKED") is None
    assert verdict("KILLED") == "the training run did not finish (is KILLED)"
    unknown = verdict(None)
    assert unknown is not None and "finish" not in unknown and "`dvc pull`" in unknown


@pytest.mark.parametrize("value", [0.1, NAN, float("inf")])
def test_absolute_metrics(value: float) -> None:
    assert judge(with_metrics(rank_1=value)) == {"absolute.rank_1"}
    assert judge(with_metrics(mAP=value)) == {"absolute.mAP"}


def test_missing_metric_fails() -> None:
    bare = dataclasses.replace(evaluation(), metrics={})
    assert judge(evidence(evaluation=bare)) == {"absolute.rank_1", "absolute.mAP"}


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"embeddings": np.full((1, 4), 0.6)}, {"operational.unit_length_deviation"}),
        (
            {"embeddings": np.array([[NAN, 1.0]])},
            {"operational.finite", "operational.unit_length_deviation"},
        ),
        (
            {"embeddings": None, "latency_ms": NAN, "error": "boom"},
            {
                "operational.request",
                "operational.finite",
                "operational.unit_length_deviation",
                "operational.latency_ms",
            },
        ),
        ({"latency_ms": 501.0}, {"operational.latency_ms"}),
        ({"size_mb": 201.0}, {"operational.size_mb"}),
        ({"size_mb": NAN}, {"operational.size_mb"}),
        ({"onnx_difference": 2e-4}, {"operational.onnx"}),
        ({"onnx_difference": NAN}, {"operational.onnx"}),
    ],
)
def test_operational(changes: dict[str, object], failing: set[str]) -> None:
    assert judge(check=serving(**changes)) == failing


def test_pickle_fails() -> None:
    assert judge(loads=False) == {"integrity.no_pickle"}


def test_first_champion_policy() -> None:
    never = CONFIG.model_copy(update={"first_champion": "never"})
    assert judge(config=never) == {"relative.champion", "statistical.champion"}
    assert judge(champion=evaluation(), config=never) == set()


def test_an_arm_that_is_worse_than_the_baseline_fails() -> None:
    """Its own mAP and the champion's say nothing about that: the generated images must help."""
    worse = evidence(baseline=evaluation(shift=0.016))
    assert judge(worse) == judge(worse, champion=evaluation(-0.1)) == {"baseline.mAP"}
    assert judge(evidence(baseline=evaluation(shift=0.009))) == set()
    assert judge(evidence(baseline=evaluation(shift=-0.05))) == set()


def test_an_arm_whose_gain_hangs_on_a_few_persons_fails() -> None:
    new = evidence(evaluation=lucky(evaluation()), baseline=evaluation())
    assert new.evaluation.metrics["mAP"] > evaluation().metrics["mAP"]
    assert judge(new) == {"baseline.mAP"}


def test_a_baseline_that_is_missing_or_measured_otherwise_fails() -> None:
    both = {"baseline.rank_1", "baseline.mAP"}
    assert judge(evidence(baseline=None)) == both
    assert "dvc repro" in failures(gates.baseline(evidence(baseline=None), CONFIG))["baseline.mAP"]
    short = dataclasses.replace(evaluation(), per_query=evaluation().per_query.iloc[1:])
    assert judge(evidence(baseline=short)) == both


def test_worse_than_the_champion_fails_relative_and_statistical() -> None:
    assert judge(champion=evaluation(shift=0.05)) == {"relative.mAP", "statistical.mAP"}
    assert judge(champion=evaluation(shift=-0.05)) == set()


def test_within_the_margin_passes() -> None:
    assert judge(champion=evaluation(shift=0.009)) == set()


def test_other_evaluation_data_blocks_with_a_reason() -> None:
    other = evaluation(fingerprint="other")
    verdicts = gates.relative(evaluation(), other, CONFIG)
    assert not any(g.passed for g in verdicts)
    assert "other data or settings" in verdicts[0].reason
    assert {"statistical.rank_1", "statistical.mAP"} <= judge(champion=other)


def test_a_champion_without_numbers_does_not_open_the_gate() -> None:
    blank = dataclasses.replace(evaluation(), metrics={"rank_1": NAN})
    assert judge(champion=blank) == {"relative.rank_1", "relative.mAP"}


def test_a_query_that_only_one_model_has_fails() -> None:
    old = evaluation()
    short = dataclasses.replace(old, per_query=old.per_query.iloc[1:])
    assert judge(champion=short) == {"statistical.rank_1", "statistical.mAP"}


def test_queries_invalid_for_both_drop_out() -> None:
    base = evaluation()
    frame = base.per_query.copy()
    frame.loc[0, ["ap", "rank_1"]] = np.nan
    both = dataclasses.replace(base, per_query=frame)
    assert judge(evidence(evaluation=both), champion=both) == set()


def lucky(old: Measurement) -> Measurement:
    """Better in the mean, thanks to two persons; worse for the others."""
    frame = old.per_query.copy()
    frame["ap"] -= 0.03
    few = frame["person_id"].isin(["0000", "0001"])
    frame.loc[few, "ap"] += 0.32
    metrics = {**old.metrics, "mAP": float(frame["ap"].mean())}
    return dataclasses.replace(old, per_query=frame, metrics=metrics)


def test_noise_that_the_mean_hides_fails_the_statistical_gate() -> None:
    """A tiny mean gain that hangs on a few persons is not significant."""
    old, new = evaluation(), lucky(evaluation())
    assert new.metrics["mAP"] > old.metrics["mAP"]
    assert judge(evidence(evaluation=new), champion=old) == {"statistical.mAP"}


def test_a_blind_camera_fails_its_slice() -> None:
    base = evaluation()
    frame = base.per_query.copy()
    frame.loc[frame["camera_id"] == 2, "rank_1"] = 0.0
    assert judge(evidence(evaluation=dataclasses.replace(base, per_query=frame))) == {
        "slices.rank_1.camera_2"
    }
    frame.loc[frame["camera_id"] == 2, "rank_1"] = np.nan
    assert judge(evidence(evaluation=dataclasses.replace(base, per_query=frame))) == {
        "slices.rank_1.camera_2"
    }
    empty = dataclasses.replace(base, per_query=base.per_query.iloc[:0])
    assert "slices.rank_1" in judge(evidence(evaluation=empty))
