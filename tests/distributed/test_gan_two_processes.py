"""Two gloo processes train the GAN that one process trains that accumulates both micro-batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("gan_training.py")
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
LEARNING_RATE = 2e-3  # of the script


def start(arguments: list[str], folder: Path) -> None:
    folder.mkdir()
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments, str(SCRIPT), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"{done.stderr[:3000]}\n...\n{done.stderr[-1000:]}"


@pytest.mark.distributed
def test_two_processes_equal_one_that_accumulates(tmp_path: Path) -> None:
    start([], tmp_path / "one")
    start(LAUNCHER, tmp_path / "two")
    alone = load_file(tmp_path / "one" / "process-0-of-1.safetensors")
    first = load_file(tmp_path / "two" / "process-0-of-2.safetensors")
    second = load_file(tmp_path / "two" / "process-1-of-2.safetensors")
    assert alone.keys() == first.keys() == second.keys()
    for name in alone:
        # Between the processes: the same bits, averages and running statistics included.
        assert torch.equal(first[name], second[name]), name
        # Adam moves a weight by up to the learning rate per step, whatever its gradient's size,
        # so a wrong sum would show in units of it.
        torch.testing.assert_close(
            first[name], alone[name], rtol=1e-5, atol=LEARNING_RATE / 100, msg=name
        )
