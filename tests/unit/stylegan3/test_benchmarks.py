"""The benchmarks run, check what they compare, and print what they promise."""

import math
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


def test_gpu_harness_on_the_cpu() -> None:
    done = run("stylegan3_gpu.py", "--device", "cpu", "--quick", "parity", "kernels", "steps")
    assert done.returncode == 0, done.stdout + done.stderr
    _, parity, kernels, steps = done.stdout.split("\n\n")
    rows = [line for line in parity.splitlines() if line.endswith(tuple("0123456789"))]
    assert len(rows) == 2 * 4 * 3 * 2  # kinds, layers, precisions, ways
    assert len([line for line in kernels.splitlines() if " matrices " in line]) == 2 * 4
    rows = [line.split() for line in steps.splitlines()[2:-1]]
    assert [(row[0], "blurred" in row) for row in rows] == [("T", 0), ("R", 0), ("R", 1)]
    for row in rows:
        generator, discriminator, r1, per_kimg = map(float, row[-6:-2])
        expected = (generator + discriminator + r1 / 16) * 1000 / 4
        assert math.isclose(per_kimg, expected, rel_tol=0.1)


def test_gpu_harness_refuses_what_it_cannot_do() -> None:
    done = run("stylegan3_gpu.py", "--device", "cpu", "everything")
    assert done.returncode == 2
    assert "no part everything; there are parity, kernels, layouts, steps" in done.stderr
