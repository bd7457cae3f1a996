"""The benchmark of ranking runs and prints what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "ranking.py"


def test_it_prints_seconds_memory_and_ratios_last() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    title, seconds, differences, ratios = done.stdout.strip().split("\n\n")
    assert title.startswith("60 queries, 32 dimensions, 1 threads")
    assert len(seconds.splitlines()) == 1 + 9
    found = [float(line.split()[-1]) for line in differences.splitlines()[1:]]
    assert len(found) == 2 and all(0 <= difference <= 1e-4 for difference in found)
    rows = [re.split(r" {2,}", line.strip()) for line in ratios.splitlines()[1:]]
    assert [row[2:3] for row in rows] == [
        *[["<= 1.5"]] * 3,
        ["<= 4"],
        [">= 20"],
        [],
        [],
        [">= 5"],
    ]
    for name, value, *claim in rows:
        if claim:
            sign, bound = claim[0].split()
            met = float(value) <= float(bound) if sign == "<=" else float(value) >= float(bound)
            assert claim[1] == ("met" if met else "missed"), name
