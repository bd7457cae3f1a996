"""Two `dvc repro` in one checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_pipeline import make_repository

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(600)]


def test_the_second_is_refused_in_a_line_and_the_first_goes_on(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repository")
    first = repo.start("dvc", "repro", "validate")
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("Running stage 'prepare'"):
            break
    second = repo.start("dvc", "repro", "validate")
    said, _ = second.communicate()
    rest = first.stdout.read()
    assert first.wait() == 0, rest
    assert second.returncode != 0
    assert "busy" in said or "acquire lock" in said, said
    assert "Traceback" not in said
    # What the first has made is whole, and nothing of it is done again.
    assert "Running stage" not in repo.run("dvc", "repro", "validate")
    assert repo.json("artifacts/validate/verdict.json")["success"]
