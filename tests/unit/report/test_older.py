"""What is told of results that were made before what stands beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lookalike.artifacts import Artifacts
from lookalike.files import sha256_file
from lookalike.report.older import older_results, older_verdict

READS = {
    "filter@persons": ["generate/persons/manifest.parquet", "train_reid/baseline/model"],
    "train_reid@baseline": ["validate/manifest.parquet"],
    "train_reid@persons": ["validate/manifest.parquet", "filter/persons/manifest.parquet"],
    "evaluate@baseline": ["train_reid/baseline/model"],
    "evaluate@persons": ["train_reid/persons/model"],
}
ARMS, KINDS = ["baseline", "persons", "new"], ["persons", "variations"]


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Two arms and a kind, made one after the other."""
    made = Artifacts(tmp_path / "artifacts")
    for names in READS.values():
        for name in names:
            write(made, name, name)
    for stage in READS:
        run(made, stage)
    return made


def write(made: Artifacts, name: str, text: str) -> None:
    (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (made.folder / name).write_text(text)


def run(made: Artifacts, stage: str) -> None:
    """What a stage records."""
    inputs = {f"artifacts/{name}": sha256_file(made.folder / name) for name in READS[stage]}
    inputs["data"] = "a folder, at which nobody looks"
    write(made, f"{stage.replace('@', '/')}/run.json", json.dumps({"inputs": inputs}))


def test_nothing_is_older_after_a_whole_pipeline(artifacts: Artifacts) -> None:
    assert older_results(artifacts, ARMS, KINDS) == []
    for stage in READS:  # what did not run, or not to its end, is missing, which others say
        (artifacts.of(stage) / "run.json").write_text("{")
    assert older_results(artifacts, ARMS, KINDS) == []


@pytest.mark.parametrize("content", ["null", "[]", '{"inputs": null}', '{"inputs": ["data"]}'])
def test_a_run_that_says_nothing_of_inputs(artifacts: Artifacts, content: str) -> None:
    write(artifacts, "evaluate/persons/run.json", content)
    assert older_results(artifacts, ARMS, KINDS) == []


def test_that_nothing_was_kept_is_said_by_the_stage_that_there_is(artifacts: Artifacts) -> None:
    assert artifacts.stage_of(artifacts.filter("none").manifest) == "validate"
    assert artifacts.stage_of(artifacts.filter("persons").manifest) == "filter@persons"


def test_an_arm_is_older_than_another_filtering_until_it_is_trained_anew(
    artifacts: Artifacts,
) -> None:
    kept = "filter/persons/manifest.parquet"
    write(artifacts, kept, "fewer")
    (line,) = older_results(artifacts, ARMS, KINDS)
    assert line.startswith("arm persons: made before filter@persons ran last (")
    assert line.endswith(f"{kept} has changed since); `dvc repro` brings them up to date")
    run(artifacts, "train_reid@persons")
    write(artifacts, "train_reid/persons/model", "better")
    (line,) = older_results(artifacts, ARMS, KINDS)
    assert line.startswith("arm persons: made before train_reid@persons ran last (")
    run(artifacts, "evaluate@persons")
    assert older_results(artifacts, ARMS, KINDS) == []


def test_the_way_is_followed_to_its_beginning(artifacts: Artifacts) -> None:
    write(artifacts, "validate/manifest.parquet", "other data")
    (line,) = older_results(artifacts, ARMS, KINDS)
    assert line.startswith("arm baseline, arm persons, filtered persons: made before validate ran")
    write(artifacts, "generate/persons/manifest.parquet", "other images")
    first, second = older_results(artifacts, ARMS, KINDS)
    assert first.startswith("arm baseline, arm persons: made before validate ran")
    assert second.startswith("filtered persons: made before generate@persons ran")


def test_gates_that_judged_other_results() -> None:
    metrics = {"a": {"validation": {"mAP": 0.5}}, "b": {"validation": {"mAP": 0.25}}}
    judged = {"a": {"mAP": 0.5, "lower": 0.0}, "b": {"mAP": 0.25, "lower": -0.1}}
    assert older_verdict({"validation": judged}, metrics) == []
    assert older_verdict({}, metrics) == []
    new = metrics | {"b": {"validation": {"mAP": 0.3}}, "c": {"validation": {"mAP": 0.5}}}
    (line,) = older_verdict({"validation": judged}, new)
    assert line.startswith("gates: they judged other results of b, c than those shown; `dvc repro`")
    nan = json.loads('{"a": {"validation": {"mAP": NaN}}}')
    assert older_verdict(json.loads('{"validation": {"a": {"mAP": NaN}}}'), nan) == []
