import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from lookalike.artifacts import Artifacts
from lookalike.report.summary import print_summary


def summarise(artifacts: Path, arms: list[str], champion: int | None = 2) -> str:
    stream = io.StringIO()
    print_summary(Artifacts(artifacts), arms, champion, Console(file=stream, width=200))
    return stream.getvalue()


def test_summary_shows_arms_filters_gates_champion_and_what_to_do_next(artifacts: Path) -> None:
    text = summarise(artifacts, ["baseline", "persons"])
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "89.31" in lines["baseline"]
    assert "90.35" in text
    assert "failed" in lines["pass_rate"]
    assert "version 3, from arm persons: failed: pass_rate; 1 of 2 gates passed." in text
    assert "Champion: lookalike-reid version 2." in text
    assert "make ui" in text
    assert "make serve" in text
    assert "missing" not in text


def test_summary_speaks_of_the_champion_of_now_not_of_registration(artifacts: Path) -> None:
    assert "Champion: lookalike-reid version 7." in summarise(artifacts, ["baseline"], champion=7)


def test_summary_says_where_a_registry_is_that_did_not_come_along(
    artifacts: Path, verdict: dict[str, Any]
) -> None:
    promoted = verdict | {"promoted": True}
    (artifacts / "register" / "verdict.json").write_text(json.dumps(promoted))
    text = " ".join(summarise(artifacts, ["baseline"], champion=None).split())
    assert "`lookalike registry restore` registers and judges them here" in text


def test_summary_names_what_is_missing(artifacts: Path) -> None:
    (artifacts / "register" / "verdict.json").unlink()
    (artifacts / "filter" / "persons" / "scores.parquet").unlink()
    (artifacts / "evaluate" / "persons" / "metrics.json").write_text("{")
    text = summarise(artifacts, ["baseline", "persons", "variations"], champion=None)
    missing = [line for line in text.splitlines() if line.startswith("missing:")]
    assert len(missing) == 4
    for part in ("evaluate/persons", "evaluate/variations", "filter/persons", "verdict.json"):
        assert any(part in line for line in missing)
    assert "89.31" in text
    assert "make serve" not in text  # nothing to serve


def test_summary_says_what_is_wrong_with_the_test_set(artifacts: Path) -> None:
    path = artifacts / "evaluate" / "persons" / "metrics.json"
    path.write_text(path.read_text().replace("{", '{"problem": "2 of 9 queries have no match",', 1))
    assert "test set: 2 of 9 queries have no match" in summarise(artifacts, ["baseline", "persons"])


def test_summary_of_nothing_does_not_fail(tmp_path: Path) -> None:
    assert "make ui" in summarise(tmp_path, ["baseline"])


def test_summary_says_which_arms_are_older_than_the_filters_beside_them(artifacts: Path) -> None:
    def older() -> list[str]:
        text = summarise(artifacts, ["baseline", "persons"])
        return [line for line in text.splitlines() if line.startswith("older:")]

    assert older() == []
    manifest = artifacts / "filter" / "persons" / "manifest.parquet"
    manifest.write_text("what is kept now")
    inputs = {"artifacts/filter/persons/manifest.parquet": "the digest of what was kept then"}
    run = artifacts / "evaluate" / "persons" / "run.json"
    run.write_text(json.dumps({"inputs": inputs}))
    (line,) = older()
    assert line.startswith("older: arm persons: made before filter@persons ran last")
