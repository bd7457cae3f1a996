"""Processes: which one lives whatever the clock says, one at a time, and none without its DVC."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from lookalike import processes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_process_lives_although_the_clock_is_set(
    monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    """The system tells when it was started as a time of day, which moves with the clock."""
    tags = processes.process_tags()
    assert processes.alive(tags)
    now = psutil.boot_time()
    platform = sys.modules[psutil.Process()._proc.__class__.__module__]
    monkeypatch.setattr(platform, "boot_time", lambda: now + jump)
    assert processes.alive(tags)


def test_another_process_of_that_id_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = processes.process_tags()
    monkeypatch.setattr(processes, "_started", lambda _: float(tags["lookalike.pid_started"]) + 9)
    assert not processes.alive(tags)
    assert not processes.alive({})


def test_one_at_a_time_and_a_word_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "QUIET", 0.05)
    path, order = tmp_path / "locks" / "stage.lock", list[str]()

    def second() -> None:
        with processes.alone(path):
            order.append("second")

    with processes.alone(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert capsys.readouterr().err.split() == (
        f"waiting for another process of this checkout, which holds {path}".split()
    )


STAGE = "import pipelines, time; print('works', flush=True); time.sleep(600)"
DVC = """
import os, subprocess, sys
stage = [sys.executable, "-c", sys.argv[1]]
command = {"alone": stage, "launched": [sys.executable, "-c", "import subprocess, sys; "
    "subprocess.run([sys.executable, '-c', sys.argv[1]])", sys.argv[1]]}[sys.argv[2]]
subprocess.run(command, env={**os.environ, "DVC_STAGE": "train_gan"})
"""


@pytest.mark.parametrize("how", ["alone", "launched"])
def test_a_stage_ends_when_its_dvc_is_killed(how: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    dvc = subprocess.Popen(
        [sys.executable, "-c", DVC, STAGE, how],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment,
        text=True,
    )
    assert dvc.stdout is not None and dvc.stdout.readline() == "works\n"
    started = psutil.Process(dvc.pid).children(recursive=True)
    time.sleep(2 * processes.LOOK)
    assert all(process.is_running() for process in started), "DVC lives"
    dvc.kill()
    dvc.wait()
    _, left = psutil.wait_procs(started, timeout=10)
    assert started and not left
