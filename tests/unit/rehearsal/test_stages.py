from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.config import Config
from lookalike.data.layouts.layout import Count
from lookalike.names import PARAMS
from lookalike.rehearsal.report import HEAD, busy_lines, markdown, missing_lines, rows
from lookalike.rehearsal.stages import STAND_INS, Outcome, run_stage, stages_of

ROOT = Path(__file__).parents[3]
COUNTS = {split: Count(100, 10) for split in ("train", "query", "gallery", "distractor", "junk")}


def found(**changes: object) -> dict[str, object]:
    return {
        "seconds": 12.0,
        "host_bytes": 2**30,
        "device_gib": 0.0,
        "work": {"read images": {"count": 10, "seconds": 2.0, "each": 0.1}},
        "archive_bytes": 0,
        "other_bytes": 10**9,
        "resume_bytes": 0,
    } | changes


def test_a_stage_that_fails_is_a_row_with_its_reason() -> None:
    outcomes = [Outcome("prepare", "", found()), Outcome("validate", "no manifest", {})]
    config = Config()
    table = rows(config, COUNTS, outcomes)
    assert all(len(row) == len(HEAD) for row in table)
    prepare = dict(zip(HEAD, table[0], strict=True))
    assert prepare["images/s"] == "10" and prepare["real images"] == "500"
    assert float(prepare["hours"]) == pytest.approx((10 + 500 * 0.1) / 3600, rel=0.01)
    assert table[1][1] == "no: no manifest" and table[2][1] == "1 of 2"
    assert markdown(table).count("\n") == 5


def test_an_archive_grows_with_its_images() -> None:
    work = {"generate persons": {"count": 10, "seconds": 1.0, "each": 0.1}}
    outcome = Outcome("generate@persons", "", found(work=work, archive_bytes=1000, other_bytes=7))
    assert outcome.real_bytes({"generate persons": 50}) == 5007
    assert outcome.real_seconds({"generate persons": 50}) == pytest.approx(11 + 5)


def test_a_stage_without_its_inputs_is_one_line_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / PARAMS).write_text("seed: 1\n")
    (tmp_path / STAND_INS).write_text("[]")
    outcome = run_stage("prepare", ROOT, tmp_path)
    assert outcome.problem.startswith("prepare: ") and "data" in outcome.problem
    assert outcome.found == {} and "\n" not in outcome.problem


def test_what_is_made_up_is_said_loudly() -> None:
    lines = missing_lines(["inception-2015"], False, Path("data"))
    assert lines[0].startswith("NOT YOUR DATA") and lines[1].startswith("RANDOM WEIGHTS")
    assert missing_lines([], True, Path("data")) == []


def test_times_of_a_busy_machine_are_called_so() -> None:
    [line] = busy_lines(11.3, 2)
    assert line.startswith("BUSY MACHINE: 11 processes wanted its 2 cores")
    assert busy_lines(1.8, 2) == []


def test_stages_come_in_the_pipelines_order() -> None:
    stages = stages_of(Config())
    assert stages[:3] == ["prepare", "validate", "train_reid@baseline"]
    assert stages.index("filter@persons") < stages.index("train_reid@persons")
    assert stages[-1].startswith("evaluate@") and len(stages) == len(set(stages))
