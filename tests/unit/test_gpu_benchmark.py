"""The command that measures a GPU runs on the CPU, at tiny sizes, without the heavier libraries."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
ABSENT = ("mlflow", "dvc", "lpips", "great_expectations")
# Stands in for a machine without them: the import fails.
WITHOUT = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ABSENT}))
sys.path.insert(0, {str(SCRIPT.parent)!r})
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    output = folder / "gpu.json"
    command = [sys.executable, "-c", WITHOUT, str(SCRIPT), "--device", "cpu", "--output"]
    done = subprocess.run(
        [*command, str(output), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, output


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, list[dict]]]:
    folder = tmp_path_factory.mktemp("gpu")
    done, output = run(folder, "--quick")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(output.read_text())
    assert found["failed"] == [] and found["card"] == "CPU"
    rows: dict[str, list[dict]] = {}
    for row in found["rows"]:
        rows.setdefault(row["part"], []).append(row)
    return folder, done.stdout, rows


def test_every_part_is_measured_and_printed(measured) -> None:
    _, printed, rows = measured
    parts = ["compile", "golden", "parity", "steps", "kernels"]
    assert list(rows) == [*parts, "resnet", "ranking", "encoder", "filters", "leg"]
    for part, found in rows.items():
        assert f"\n{part}\n" in printed
        assert all(row["name"] in printed for row in found)
    assert len(rows["parity"]) == 2 * 4 * 3 * 2  # kinds, layers, precisions, ways
    assert len(rows["kernels"]) == 2 * 4 * 2
    assert len(rows["golden"]) == 6 * 2
    assert all(row["good"] for row in rows["golden"] + rows["parity"])


def test_seconds_per_1000_images_are_those_of_the_phases(measured) -> None:
    _, _, rows = measured
    assert [row["name"].split()[0] for row in rows["steps"]] == ["T", "R", "R"]
    for row in rows["steps"]:
        total = row["g_s"] + row["d_s"] + row["r1_s"] / 16
        assert math.isclose(row["s_per_kimg"], total * 1000 / 4, rel_tol=1e-6)
        assert row["g_convolutions_s"] > 0


def test_the_leg_goes_on_from_the_shipped_generator(measured) -> None:
    folder, _, rows = measured
    leg = folder / rows["leg"][0]["name"]
    assert leg.is_file() and leg.stat().st_size < 16 * 2**20  # small enough to bring home


def test_when_the_time_is_up_no_row_begins(tmp_path: Path) -> None:
    done, output = run(tmp_path, "--quick", "--seconds", "0", "parity", "ranking")
    assert done.returncode == 0 and done.stdout.count("time is up") == 2
    assert json.loads(output.read_text())["rows"] == []


def test_what_breaks_is_a_line_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from gpu_bench import Bench, TimeUp

    bench = Bench("cpu", torch.bfloat16, True, 100, tmp_path / "gpu.json")
    bench.part = "steps"
    for name, error in (("a", RuntimeError(f"{'x' * 999}\nmany\nlines")), ("b", None)):
        with bench.row(name) as row:
            bench.show(row, gib=bench.peak_gib())
            if error is not None:
                raise error
    with bench.row("c"):
        raise torch.OutOfMemoryError
    with bench.guarded("whole"):
        raise SystemExit("numbers disagree")
    found = json.loads((tmp_path / "gpu.json").read_text())  # after each row
    assert [row["name"] for row in found["rows"]] == ["a", "b", "c"]
    assert found["rows"][1]["gib"] is None and found["rows"][2]["out_of_memory"]
    assert len(bench.failed[0]) == 300 and bench.failed[0].startswith("steps: a: RuntimeError: x")
    assert bench.failed[1:] == ["steps: whole: numbers disagree"]
    assert "\nmany" not in capsys.readouterr().out
    bench.ends = 0
    with pytest.raises(TimeUp), bench.guarded("whole"), bench.row("d"):
        pass


def test_long_work_is_repeated_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import gpu_bench

    bench = gpu_bench.Bench("cpu", torch.bfloat16, False, 100, tmp_path / "gpu.json")
    calls: list[int] = []
    bench.seconds(lambda: calls.append(1))
    assert len(calls) == 1 + 5
    monkeypatch.setattr(gpu_bench, "ENOUGH", 0.0)
    bench.seconds(lambda: calls.append(1))
    assert len(calls) == 6 + 1 + 2


def test_an_unknown_part_is_one_line(tmp_path: Path) -> None:
    done, _ = run(tmp_path, "everything")
    assert done.returncode == 2
    assert "no part everything; there are compile, golden, parity, steps" in done.stderr


def test_trainers_import_without_the_heavier_libraries() -> None:
    modules = [f"lookalike.{part}.trainer" for part in ("stylegan3", "reid", "inversion")]
    modules.append("lookalike.inversion.starting_pair")
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); import {', '.join(modules)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
