"""Starts a script alone or as two gloo processes on this machine's CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
Weights = list[dict[str, Tensor]]
Launch = Callable[..., Weights]
Start = Callable[..., subprocess.CompletedProcess[str]]
Compared = Callable[[str, str, Callable[[Path], None]], tuple[dict[str, bytes], str]]


@pytest.fixture
def start() -> Start:
    """Runs python's `arguments` in so many processes, in a folder."""

    def started(*arguments: str, processes: int, cwd: Path) -> subprocess.CompletedProcess[str]:
        root = Path(__file__).parents[2]
        environment = {
            **os.environ,
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]),
        }
        launcher = [*LAUNCHER, str(processes)] if processes > 1 else []
        command = [sys.executable, *launcher, *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500
        )

    return started


@pytest.fixture
def by_one_and_by_two(start: Start, tmp_path: Path) -> Compared:
    """Whether two processes write a stage's bytes as one does, and what the two said.

    Not those of `run.json`, which names a run.
    """

    def compared(
        stage: str, arm: str, project: Callable[[Path], None]
    ) -> tuple[dict[str, bytes], str]:
        written = []
        for processes in (1, 2):
            folder = tmp_path / f"{processes}"
            project(folder)
            done = start("-m", f"pipelines.{stage}", arm, processes=processes, cwd=folder)
            assert done.returncode == 0, done.stderr[-3000:]
            outputs = sorted((folder / "artifacts" / stage / arm).iterdir())
            written.append({p.name: p.read_bytes() for p in outputs if p.name != "run.json"})
        assert written[0] == written[1]
        return written[0], done.stderr

    return compared


@pytest.fixture
def launch(start: Start) -> Launch:
    """Runs `SCRIPT FOLDER ...` in so many processes; what each wrote, in the order of ranks."""

    def launched(script: str, folder: Path, processes: int, *arguments: str) -> Weights:
        folder.mkdir(exist_ok=True)
        place = str(Path(__file__).with_name(script))
        done = start(place, str(folder), *arguments, processes=processes, cwd=folder)
        assert done.returncode == 0, f"{done.stderr[:3000]}\n...\n{done.stderr[-1000:]}"
        return [
            load_file(folder / f"process-{rank}-of-{processes}.safetensors")
            for rank in range(processes)
        ]

    return launched
