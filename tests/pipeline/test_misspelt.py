"""Misspelt and missing parameters under DVC, which deletes outputs before it runs their stage."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_pipeline import make_repository

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(600)]


def test_the_line_says_what_was_meant_and_how_to_get_the_outputs_back(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repository")
    repo.run("dvc", "repro", "prepare", "weights")
    parameters = repo.folder / "params.yaml"
    right = parameters.read_text()
    parameters.write_text(
        right.replace("on_problem: fail", "on_problem: quarantin").replace("hog", "hogg")
    )
    for stage, hint in (
        ("prepare", "data.on_problem: no such value as quarantin; did you mean quarantine?"),
        ("weights", "filter.detector: no such value as hogg; did you mean hog?"),
        ("weights", "no weights are called starting-encodr; did you mean starting-encoder?"),
    ):
        if "encodr" in hint:
            parameters.write_text(right.replace("starting-encoder", "starting-encodr"))
        made = repo.files(f"artifacts/{stage}")
        said = repo.run("dvc", "repro", stage, status=255)
        (line,) = [one for one in said.splitlines() if one.startswith(f"{stage}: ")]
        assert hint in line and line.endswith(
            f" (if DVC has deleted outputs for this run, `dvc checkout {stage}` brings them back)"
        )
        assert "Traceback" not in said
        assert not list((repo.folder / "artifacts" / stage).glob("*"))
        repo.run("dvc", "checkout", stage)
        assert repo.files(f"artifacts/{stage}") == made
    parameters.write_text(right)
    assert "Running stage" not in repo.run("dvc", "repro", "prepare", "weights")

    # One that is not there at all: DVC misses it, and we say where the line comes from.
    assert "seed: 1\ndata:" in right
    parameters.write_text(right.replace("seed: 1\ndata:", "data:"))
    assert "Parameters 'seed' are missing" in repo.run("dvc", "repro", "prepare", status=255)
    for command in (("lookalike", "summary"), ("python", "-m", "pipelines.prepare")):
        said = repo.run(*command)
        assert "params.yaml has no seed: defaults are taken, and `dvc repro` may stop; " in said
        assert "copy the lines from `lookalike profile show embedded`" in said
