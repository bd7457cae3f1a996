"""Runs in a real MLflow store, in a folder whose name needs quoting."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_DOES_NOT_EXIST

from lookalike import tracking
from lookalike.config import Config, load_config
from lookalike.files import md5_file
from lookalike.profiles import render
from lookalike.provenance import dvc_digests, git_sha, pipeline_digest, uncommitted
from lookalike.store import Store, connect
from lookalike.tracking import MlflowTracker, open_run, reconcile, write_run_json
from lookalike.waiting import Waiting

REPOSITORY = Path(__file__).parents[2]


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A committed checkout, its store made once."""
    root = tmp_path_factory.mktemp("a clone") / "100% real #1"
    (root / "src").mkdir(parents=True)
    (root / "src" / "code.py").write_text("x = 1\n")
    (root / "params.yaml").write_text(render(Config()))
    (root / ".gitignore").write_text("/mlruns/\n/artifacts/\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "start")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        yield root
    assert not (root / "mlflow.db").exists(), "MLflow made a second store"


@pytest.fixture(scope="module")
def config(root: Path) -> Config:
    return load_config(root / "params.yaml")


def children(tracker: MlflowTracker, status: str | None = None) -> list[str]:
    store = tracker.store
    runs = store.client.search_runs(
        [store.experiment_id], f"tags.`mlflow.parentRunId` = '{tracker.parent_run_id}'"
    )
    return [r.info.run_id for r in runs if status in (None, r.info.status)]


def test_what_is_logged_can_be_read_back(root: Path, config: Config) -> None:
    artifact = root / "artifacts" / "a figure.txt"
    artifact.parent.mkdir(exist_ok=True)
    artifact.write_text("hello")
    with open_run("train_gan", config, root) as tracker:
        client = tracker.store.client
        parent = client.get_run(tracker.parent_run_id)
        assert parent.info.status == "RUNNING"
        assert parent.data.params["gan.batch_size"] == str(config.gan.batch_size)
        tracker.params({"gan": {"batch_size": 16, "nested": {"lr": 0.1}}, "list": [1, 2]})
        tracker.params({f"many.{i}": i for i in range(150)})
        tracker.metrics({"a": np.float32(0.5), "b": torch.tensor(2.0), "c": 3}, step=320)
        tracker.metrics({"a": 0.25}, step=640)
        tracker.artifact(artifact)
        tracker.artifact(artifact.parent, "folder")
        frame = pd.DataFrame({"seed": np.arange(3), "person_id": ["a", "b", "c"]})
        tracker.dataset(frame, "train", "0" * 32 + ".dir", "training")
        write_run_json(Path("artifacts/train_gan/run.json"), tracker, [Path("params.yaml")])

    run = client.get_run(tracker.run_id)
    assert run.info.status == client.get_run(tracker.parent_run_id).info.status == "FINISHED"
    assert run.data.params["gan.nested.lr"] == "0.1"
    assert run.data.params["list"] == "[1, 2]"
    assert len(run.data.params) == 153
    history = client.get_metric_history(tracker.run_id, "a")
    assert [(m.step, m.value) for m in history] == [(320, 0.5), (640, 0.25)]
    assert run.data.metrics["b"] == 2.0
    names = [f.path for f in client.list_artifacts(tracker.run_id)]
    assert "a figure.txt" in names
    assert "folder" in names
    stored = root / "mlruns" / "artifacts" / tracker.run_id / "artifacts" / "a figure.txt"
    assert stored.read_text() == "hello"
    dataset = run.inputs.dataset_inputs[0]
    assert (dataset.dataset.name, dataset.dataset.digest) == ("train", "0" * 32 + ".dir")
    assert dataset.tags[0].value == "training"
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == tracker.parent_run_id
    assert tags["lookalike.stage"] == "train_gan"
    assert tags["lookalike.git_sha"] == git_sha(root)
    assert tags["lookalike.dirty"] == "false"
    assert tags["lookalike.input.params.yaml"] == md5_file(root / "params.yaml")
    record = json.loads((root / "artifacts/train_gan/run.json").read_text())
    assert record["run_id"] == tracker.run_id
    assert record["parent_run_id"] == tracker.parent_run_id
    assert record["git_sha"] == git_sha(root)
    assert record["dirty"] is False
    assert len(record["inputs"]["params.yaml"]) == 64


def test_a_metric_that_is_no_number_is_an_error(root: Path, config: Config) -> None:
    with pytest.raises((TypeError, ValueError)), open_run("x", config, root) as tracker:
        tracker.metrics({"a": torch.zeros(2)})  # type: ignore[dict-item]


def test_one_parent_per_commit_and_parameters(root: Path, config: Config) -> None:
    with open_run("prepare", config, root) as first:
        pass
    with (
        pytest.raises(RuntimeError, match="broken"),
        open_run("evaluate@anna's", config, root) as second,
    ):
        raise RuntimeError("broken")
    client = second.store.client
    assert first.parent_run_id == second.parent_run_id
    assert client.get_run(second.run_id).info.status == "FAILED"
    assert client.get_run(second.parent_run_id).info.status == "FAILED"
    with open_run("evaluate@anna's", config, root) as third:
        pass
    assert client.get_run(third.parent_run_id).info.status == "FINISHED"
    assert client.get_run(third.run_id).data.tags["lookalike.resumed_from"] == second.run_id
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text + "# changed\n")
    try:
        with open_run("prepare", config, root) as other:
            pass
        assert other.parent_run_id != first.parent_run_id
        tags = client.get_run(other.run_id).data.tags
        assert tags["lookalike.dirty"] == "true"
        assert tags["lookalike.uncommitted"] == "params.yaml"
    finally:
        (root / "params.yaml").write_text(text)


SCRIPT = """
import sys, time
from pathlib import Path
from lookalike.config import load_config
from lookalike.tracking import open_run
root = Path.cwd()
with open_run("train_reid@baseline", load_config(root / "params.yaml"), root) as tracker:
    print(tracker.run_id, flush=True)
    time.sleep(120)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_does_not_stay_running(
    root: Path, config: Config, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    store = connect(config, root)
    assert store.client.get_run(run_id).info.status == "RUNNING"
    with open_run("other", config, root):  # a living process is left alone
        assert store.client.get_run(run_id).info.status == "RUNNING"
    os.kill(process.pid, number)
    process.wait(timeout=60)
    if number == signal.SIGTERM:
        assert process.returncode == 128 + signal.SIGTERM
        assert store.client.get_run(run_id).info.status == "KILLED"
    with open_run("train_reid@baseline", config, root) as tracker:
        assert store.client.get_run(run_id).info.status == "KILLED"
    tags = store.client.get_run(tracker.run_id).data.tags
    assert tags["lookalike.resumed_from"] == run_id
    assert children(tracker, "RUNNING") == []


@pytest.mark.parametrize("back", ["while it works", "afterwards"])
def test_work_goes_on_while_mlflow_is_lost_and_nothing_is(
    root: Path,
    config: Config,
    back: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database is moved away, which SQLite calls read-only, and comes back."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # MLflow checks more in tests, before it writes
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    database, away = root / "mlruns" / "mlflow.db", root / "mlruns" / "away.db"
    picture = tmp_path / "sample.png"
    with open_run("train_gan", config, root) as tracker:
        tracker.metrics({"loss": 1.0}, step=1)
        database.rename(away)
        tracker.metrics({"loss": 2.0}, step=2)
        picture.write_bytes(b"at two")
        tracker.artifact(picture, "samples")
        picture.write_bytes(b"at three")
        tracker.tags({"note": "lost"})
        tracker.params({"gan": {"seed": 1}})
        tracker.dataset(pd.DataFrame({"x": [1]}), "rows", "d1", "training")
        tracker.headline({"mAP": 0.5})
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "the work goes on, and what it records waits" in told
        if back == "while it works":
            away.rename(database)
            monkeypatch.setattr(tracking, "RETRY", 0.0)
        tracker.metrics({"loss": 3.0}, step=3)
    if back == "afterwards":
        assert "MLflow is not back, and has 9 records of this" in capsys.readouterr().err
        away.rename(database)
        assert tracker.store.client.get_run(tracker.run_id).info.status == "RUNNING"
        monkeypatch.setattr(tracking, "alive", lambda _: False)  # its process has ended
        reconcile(tracker.store, root)
    client = tracker.store.client
    points = client.get_metric_history(tracker.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert [p.timestamp for p in points] == sorted(p.timestamp for p in points)
    run = client.get_run(tracker.run_id)
    assert run.data.tags["note"] == "lost" and run.data.params["gan.seed"] == "1"
    assert [given.dataset.name for given in run.inputs.dataset_inputs] == ["rows"]
    assert client.get_run(tracker.parent_run_id).data.metrics["mAP"] == 0.5
    kept = client.download_artifacts(tracker.run_id, "samples/sample.png", str(tmp_path))
    assert Path(kept).read_bytes() == b"at two"
    assert run.info.status == "FINISHED"
    assert not list(tracking.waiting_folder(root).glob("*"))


@pytest.mark.parametrize("code", [RESOURCE_DOES_NOT_EXIST, PERMISSION_DENIED])
def test_a_run_that_is_not_here_has_no_status(code: int, tmp_path: Path) -> None:
    """With accounts, MLflow's server answers 403 for a run that it does not have."""

    def get_run(_: str) -> None:
        raise MlflowException("no", error_code=code)

    store = Store("http://x", SimpleNamespace(get_run=get_run), "lookalike", "1")  # type: ignore[arg-type]
    assert MlflowTracker(store, "a", "b", tmp_path).status_of("c") is None


def test_records_of_a_run_that_is_not_here_stay(
    root: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tracking.waiting_folder(root) / ("0" * 32)
    Waiting(folder).add({"kind": "tags", "values": {}, "run_id": folder.name})
    with open_run("prepare", config, root):
        pass
    assert "of a run that this MLflow store does not have; they stay" in capsys.readouterr().err
    assert len(Waiting(folder)) == 1
    shutil.rmtree(folder)


@pytest.mark.parametrize(("host", "stays"), [("elsewhere", 1), (socket.gethostname(), 0)])
def test_only_the_own_host_knows_that_a_run_is_dead(
    host: str, stays: int, root: Path, config: Config
) -> None:
    """On a shared file system a run of another host may be at work."""
    store = connect(config, root)
    tags = {"lookalike.host": host, "lookalike.pid": "1", "lookalike.pid_started": "-99"}
    run = store.client.create_run(store.experiment_id, tags=tags)
    folder = tracking.waiting_folder(root) / run.info.run_id
    Waiting(folder).add({"kind": "tags", "values": {"a": "b"}, "run_id": run.info.run_id})
    reconcile(store, root)
    assert len(Waiting(folder)) == stays
    assert ("a" in store.client.get_run(run.info.run_id).data.tags) is not bool(stays)


def test_three_processes_open_a_fresh_store(tmp_path: Path, config: Config) -> None:
    fresh = tmp_path / "fresh store"
    fresh.mkdir()
    (fresh / "params.yaml").write_text(render(Config()))
    script = SCRIPT.replace("time.sleep(120)", "pass")
    processes = [subprocess.Popen([sys.executable, "-c", script], cwd=fresh) for _ in range(3)]
    try:
        assert [p.wait() for p in processes] == [0] * 3
    finally:
        for process in processes:
            process.kill()
    store = connect(config, fresh)
    runs = store.client.search_runs([store.experiment_id])
    kinds = sorted(r.data.tags["lookalike.kind"] for r in runs)
    assert kinds == ["pipeline", *["stage"] * 3]
    assert {r.info.status for r in runs} == {"FINISHED"}


def test_provenance(root: Path) -> None:
    assert uncommitted(root) == []
    (root / "dvc.lock").write_text(
        yaml.safe_dump(
            {
                "schema": "2.0",
                "stages": {"a": {"cmd": "x", "outs": [{"path": "artifacts/m", "md5": "1.dir"}]}},
            }
        )
    )
    (root / "data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": "2.dir", "path": "data"}]}))
    (root / ".dvc").mkdir()
    before = pipeline_digest(root)
    (root / "src" / "new.py").write_text("y = 2\n")
    try:
        paths = [Path("artifacts/m"), Path("data"), root / "src" / "new.py", Path("nowhere")]
        assert dvc_digests(paths, root) == {
            "artifacts/m": "1.dir",
            "data": "2.dir",
            "src/new.py": md5_file(root / "src" / "new.py"),
            "nowhere": "untracked",
        }
        assert uncommitted(root) == ["data.dvc", "src/new.py"]  # dvc.lock is no code
        assert pipeline_digest(root) == before
    finally:
        for name in ("src/new.py", "dvc.lock", "data.dvc"):
            (root / name).unlink()
