"""The benchmark of training runs and prints what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "reid_training.py"


def test_reid_training_prints_rates_for_both_recipes() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    header, *lines = done.stdout.splitlines()
    assert "images/s" in header and "data wait" in header
    assert [line.split(",")[0] for line in lines] == ["study", "strong"]
    for line in lines:
        rate, wait, teraflops = line.split()[-4:-1]
        assert float(rate) > 0 and float(teraflops) > 0
        assert 0 <= float(wait.rstrip("%")) < 100


def test_serving_prints_latencies_of_both_runtimes() -> None:
    command = [sys.executable, str(SCRIPT.with_name("serving.py")), "--quick"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    _, header, *lines, last = done.stdout.splitlines()
    assert "p50 ms" in header and "p95 ms" in header and "images/s" in header
    rows = [line.rsplit(maxsplit=5) for line in lines]
    assert [row[0].split("  ")[-1].strip() for row in rows] == ["PyTorch", "ONNX Runtime"] * 2
    for _, batch, p50, p95, rate, calls in rows:
        assert 0 < float(p50) <= float(p95)
        assert float(rate) == pytest.approx(1000 * int(batch) / float(p50), rel=0.1)
        assert int(calls) == 2
    assert float(last.split("differ by ")[1].split()[0]) <= 1e-4


def test_recipes_are_compared_and_kept(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT.with_name("recipes.py")), "--quick", "--seeds", "1"]
    command += ["--folder", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, blank, size, seeds, header, *lines = done.stdout.splitlines()
    assert first.startswith("study seed 1: rank_1 ") and second.startswith("strong seed 1: ")
    assert (blank, size.split(",")[-1]) == ("", " 32x16") and seeds.startswith("1 seeds, percent")
    assert header.split() == ["rank_1", "mAP", "mINP"]
    table = {line.split()[0]: line.split()[1::3] for line in lines}
    study, strong, difference = (list(map(float, table[name])) for name in table)
    assert list(table) == ["study", "strong", "difference"]
    for one, other, change in zip(study, strong, difference, strict=True):
        assert other - one == pytest.approx(change, abs=0.02)
    kept = sorted(path.name.split("-")[0] for path in tmp_path.glob("*.json"))
    assert kept == ["strong", "study"], "what a second run reads"
