"""The first two stages on data with faults: what a user sees, and what is kept of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import yaml

from lookalike.data.manifest import read_manifest
from lookalike.data.population import render_population
from lookalike.store import tracking_uri

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]


def run(folder: Path, stage: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": "",
    }
    return subprocess.run(
        [sys.executable, "-m", f"pipelines.{stage}"], cwd=folder, env=environment,
        text=True, capture_output=True, check=False,
    )  # fmt: skip


def set_parameters(folder: Path, on_problem: str) -> None:
    params = {"data": {"validation_persons": 2, "on_problem": on_problem}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def test_bad_data_stops_the_pipeline_or_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_population(
        tmp_path / "data", seed=3, train_persons=4, test_persons=2, images_per_person=6,
        distractors=1, junk=1, workers=1, progress=False,
    )  # fmt: skip
    bad = sorted((tmp_path / "data" / "bounding_box_train").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:200])
    file = f"data/bounding_box_train/{bad.name}"
    (tmp_path / "data.dvc").write_text("outs: []\n")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)

    set_parameters(tmp_path, "fail")
    prepared = run(tmp_path, "prepare")
    assert prepared.returncode == 0 and "1 problem" in prepared.stderr, prepared.stderr
    stopped = run(tmp_path, "validate")
    assert stopped.returncode == 2, stopped.stderr
    assert f"{file}: unreadable" in stopped.stderr and "Traceback" not in stopped.stderr
    assert "set data.on_problem: quarantine" in stopped.stderr
    assert not (tmp_path / "artifacts/validate/manifest.parquet").exists()

    set_parameters(tmp_path, "quarantine")
    mended = run(tmp_path, "validate")
    assert mended.returncode == 0, mended.stderr
    verdict = json.loads((tmp_path / "artifacts/validate/verdict.json").read_text())
    assert verdict["success"] and verdict["quarantined"] == [file]
    accepted = read_manifest(tmp_path / "artifacts/validate/manifest.parquet")
    assert file not in set(accepted["member"]) and len(accepted) == verdict["images"]

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = mlflow.MlflowClient(tracking_uri(tmp_path))
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = [one for one in client.search_runs(experiments) if one.info.run_name == "validate"]
    assert sorted(one.info.status for one in runs) == ["FAILED", "FINISHED"]
    for one in runs:
        docs = {item.path for item in client.list_artifacts(one.info.run_id, "data_docs")}
        assert "data_docs/index.html" in docs
