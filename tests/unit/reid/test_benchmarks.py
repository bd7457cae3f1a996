"""The benchmark of training runs and prints what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
