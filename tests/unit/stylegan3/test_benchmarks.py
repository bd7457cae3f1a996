"""The benchmarks run, check what they compare, and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "benchmarks"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_step_ends_with_the_ratio() -> None:
    done = run("stylegan3_step.py", "--quick")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert float(lines[1].split()[-1]) < 1e-3  # images and gradients
    ways = [line[:20].strip() for line in lines[3:6]]
    assert ways == ["straightforward", "ours", "convolutions alone"]
    ratios = [re.search(r" (\d+\.\d+)x$", line) for line in lines[-2:]]
    assert all(ratio and float(ratio[1]) > 0 for ratio in ratios)
