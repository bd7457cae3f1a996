"""Starts a training script alone or as two gloo processes on this machine's CPU."""

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
Launch = Callable[[str, Path, int], Weights]


@pytest.fixture
def launch() -> Launch:
    """Runs `SCRIPT FOLDER` in so many processes; what each wrote, in the order of their ranks."""

    def start(script: str, folder: Path, processes: int) -> Weights:
        folder.mkdir(exist_ok=True)
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        launcher = [*LAUNCHER, str(processes)] if processes > 1 else []
        command = [sys.executable, *launcher, str(Path(__file__).with_name(script)), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, f"{done.stderr[:3000]}\n...\n{done.stderr[-1000:]}"
        return [
            load_file(folder / f"process-{rank}-of-{processes}.safetensors")
            for rank in range(processes)
        ]

    return start
