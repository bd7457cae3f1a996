"""A study that was killed leaves nobody at work, and goes on."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.config import load_config
from lookalike.errors import UserError
from lookalike.study import run
from lookalike.study.plan import load_study
from lookalike.study.trainings import SCRATCH, Training, plan_trainings

OPTIONS = ("study", "study.yaml", "--output", "results", "--workers", "1")


@pytest.fixture
def trainings(repository: Path) -> list[Training]:
    Path("study.yaml").write_text("seeds: [1, 2]\narms: {persons: {images: [persons]}}\n")
    config = load_config(Path("params.yaml"))
    return plan_trainings(load_study(Path("study.yaml"), config), config, repository)


@pytest.mark.distributed
@pytest.mark.usefixtures("trainings")
def test_a_killed_study_takes_its_workers_with_it_and_goes_on() -> None:
    command = [sys.executable, "-c", "from lookalike.cli import main; main()", *OPTIONS]
    study = subprocess.Popen(command)
    try:
        while not list(Path("results").glob("*.json")):
            assert study.poll() is None
            time.sleep(0.02)
        children = psutil.Process(study.pid).children(recursive=True)
    finally:
        study.kill()
        study.wait()
    assert children and not psutil.wait_procs(children, timeout=60)[1]
    listed = CliRunner().invoke(app, [*OPTIONS, "--dry-run"])
    assert "of 4 trainings left" in listed.stderr and "done" in listed.stdout


def test_a_worker_that_dies_is_one_line(
    trainings: list[Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_start_worker", partial(os._exit, 1))
    with pytest.raises(UserError, match="a process died while it trained baseline-seed1"):
        run.run_study(trainings, Path("results"), Path(), workers=1)


def test_there_is_one_study_at_a_time(trainings: list[Training]) -> None:
    SCRATCH.mkdir(parents=True)
    with (SCRATCH / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another study is at work in "):
            run.run_study(trainings, Path("results"), Path(), workers=1)
