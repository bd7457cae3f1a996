"""Two processes embed a folder to the bytes of one; a killed run goes on, with what it has."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_pipeline import BIN

from lookalike.config import Config, ReidConfig
from lookalike.data.loading import encode_jpeg
from lookalike.profiles import render
from lookalike.reid.model import new_reid, save_reid

PICTURES = 2 * 1024 + 300  # three parts
# A free port: tests run at once.
PORT = ("--main_process_port", "0")
TWO = ("accelerate", "launch", "--multi_gpu", "--num_processes", "2", *PORT, "--no_python")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Parameters, a model and a folder with two broken pictures in it."""
    (tmp_path / "params.yaml").write_text(render(Config()))
    config = ReidConfig(height=32, width=16, embedding_dim=8)
    torch.manual_seed(0)
    save_reid(tmp_path / "model.safetensors", new_reid(config, 2), config, ["a", "b"])
    (tmp_path / "people").mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        picture = rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)
        (tmp_path / "people" / f"{number:05d}.jpg").write_bytes(encode_jpeg(picture))
    for number in (5, 2000):
        (tmp_path / "people" / f"{number:05d}.jpg").write_bytes(b"no picture")
    return tmp_path


def embed(place: Path, output: str, *launcher: str) -> subprocess.Popen[str]:
    command = ["lookalike", "embed", "people", "--output", output, "--model", "model.safetensors"]
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [*launcher, *command], cwd=place, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.mark.distributed
def test_the_bytes_are_those_of_one_process(place: Path) -> None:
    # Killed once the first part is there: the next run begins with the second.
    killed = embed(place, "one.npz")
    while not list(place.glob(".lookalike/resume/embed-one-*/0.npz")):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    assert not (place / "one.npz").exists()
    assert " of 3 parts are there already" in finished(embed(place, "one.npz"))

    said = finished(embed(place, "two.npz", *TWO))
    assert said.count("left out 00005.jpg: not a readable image") == 1, said
    assert said.count(f"{PICTURES - 2:,} pictures embedded") == 1, said
    assert (place / "two.npz").read_bytes() == (place / "one.npz").read_bytes()
    assert not list(place.glob(".lookalike/resume/embed-*"))
