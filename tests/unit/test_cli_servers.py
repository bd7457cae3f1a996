"""What `lookalike ui` shows, asked through the started server; ports that cannot be had."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.tracking.context.registry import _run_context_provider_registry

from lookalike.cli import main
from lookalike.config import Config
from lookalike.names import CHAMPION
from lookalike.profiles import render
from lookalike.tracking import MlflowTracker, open_run, write_run_json


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The installed command; killed with SIGTERM, as a supervisor does."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("lookalike"), *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def ask(address: str, **question: object) -> Any:
    """A GET, or a POST of JSON; until the server answers, for a minute."""
    body = json.dumps(question).encode() if question else None
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    for _ in range(120):
        try:
            return json.load(urllib.request.urlopen(request, timeout=60))
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{address} does not answer")


@dataclass(frozen=True)
class Ui:
    """`lookalike ui`, started in a checkout with a run and a model."""

    root: Path
    address: str
    said: str  # its first line
    tracker: MlflowTracker


def checkout(root: Path) -> Config:
    root.mkdir(parents=True)
    (root / "params.yaml").write_text(render(Config()))
    return Config()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    root = tmp_path_factory.mktemp("ui") / "100% real"
    config = checkout(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with open_run("evaluate@baseline", config, root) as tracker:
            tracker.metrics({"mAP": 0.5})
            tracker.headline({"rank_1/baseline": 0.4, "mAP/baseline": 0.5, "mAP/persons": 0.6})
            tracker.artifact(root / "params.yaml")
        patch.setenv("DVC_EXP_NAME", "more-persons")
        (root / "params.yaml").write_text(render(Config(seed=2)))
        with open_run("evaluate@baseline", Config(seed=2), root) as other:
            other.headline({"rank_1/baseline": 0.45, "mAP/baseline": 0.55, "mAP/persons": 0.7})
        patch.delenv("DVC_EXP_NAME")
        client, model = tracker.store.client, config.registry.model
        client.create_registered_model(model)
        version = client.create_model_version(model, "nowhere", tracker.run_id)
        client.set_registered_model_alias(model, CHAMPION, version.version)
        port = unused_port()
        with started("ui", "--port", str(port), folder=root) as process:
            assert process.stderr is not None
            address, said = f"http://127.0.0.1:{port}", process.stderr.readline()
            ask(f"{address}/api/2.0/mlflow/registered-models/search")
            yield Ui(root, address, said, tracker)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def parent_of(run: dict[str, Any]) -> str:
    """Empty for a run that MLflow lists by itself."""
    tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
    return tags.get("mlflow.parentRunId", "")


def test_the_ui_shows_the_runs_the_artifacts_and_the_model(shown: Ui) -> None:
    page = re.fullmatch(rf"open {shown.address}/#/experiments/(\d+)/runs\?(\S+) .*\n", shown.said)
    view = "workflowType=machine_learning&viewStateShareKey=lookalike"
    assert page and page[2] == view, shown.said
    api, run = f"{shown.address}/api/2.0/mlflow", shown.tracker
    runs = ask(f"{api}/runs/search", experiment_ids=[page[1]])["runs"]
    assert {run.run_id, run.parent_run_id} <= {found["info"]["run_id"] for found in runs}
    # What a browser asks for when two of the list are compared.
    names = {f["info"]["run_id"]: f["info"]["run_name"] for f in runs if not parent_of(f)}
    assert len(set(names.values())) == len(names) == 2, names
    assert "more-persons" in names.values()
    compared = [ask(f"{api}/runs/get?run_id={one}")["run"]["data"] for one in names]
    metrics = [{m["key"]: m["value"] for m in data["metrics"]} for data in compared]
    assert [sorted(found) for found in metrics] == [
        ["mAP/baseline", "mAP/persons", "rank_1/baseline"]
    ] * 2
    assert {found["mAP/persons"] for found in metrics} == {0.6, 0.7}
    seeds = {p["value"] for data in compared for p in data["params"] if p["key"] == "seed"}
    assert seeds == {"1", "2"}
    experiment = ask(f"{api}/experiments/get?experiment_id={page[1]}")["experiment"]
    tags = {tag["key"]: tag["value"] for tag in experiment["tags"]}
    assert "`mAP/baseline`" in tags["mlflow.sharedViewState.lookalike"]
    model = Config().registry.model
    found = ask(f"{api}/registered-models/get?name={model}")["registered_model"]
    assert found["aliases"] == [{"alias": CHAMPION, "version": "1"}]
    listed = ask(f"{api}/artifacts/list?run_id={run.run_id}")["files"]
    assert [file["path"] for file in listed] == ["params.yaml"]
    assert sorted(path.name for path in shown.root.iterdir()) == ["mlruns", "params.yaml"], (
        "a stray"
    )


def test_a_password_for_a_server_is_written_nowhere(
    shown: Ui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither MLflow's of the environment nor that of git's remote."""
    config, root = checkout(tmp_path / "another"), tmp_path / "another"
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://alice:SE/CRET/@git.example.org/x.git"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    monkeypatch.chdir(root)
    script = root / "stage.py"
    script.touch()
    monkeypatch.setattr(sys, "argv", [str(script)])  # MLflow asks git about the folder
    for provider in _run_context_provider_registry:  # and remembers what git said of another
        monkeypatch.setattr(provider, "_cache", {}, raising=False)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    server = shown.address.replace("//", "//alice:SE@CRET/@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    frame = pd.DataFrame({"person_id": ["a", "b"]})
    with open_run("train_gan", config, root) as tracker:
        tracker.dataset(frame, "train", "0" * 32, "training")
        tracker.tags({"note": f"see {server}"})
        tracker.params({"where": server})
        tracker.artifact(root / "params.yaml")
        write_run_json(root / "run.json", tracker, [Path("params.yaml")])
    run = tracker.store.client.get_run(tracker.run_id)
    assert run.data.tags["note"] == f"see {shown.address}"
    assert "git.example.org/x.git" in run.inputs.dataset_inputs[0].dataset.source
    monkeypatch.setattr(sys, "argv", ["lookalike", "ui"])
    with pytest.raises(SystemExit):
        main()
    out, err = capfd.readouterr()
    assert f"open {shown.address}/#/experiments/" in err
    written = [p for place in (root, shown.root) for p in place.rglob("*") if p.is_file()]
    texts = [p.read_bytes() for p in written if ".git" not in p.parts]
    for secret in ("SECRET", "CRET/", "CRET%2F"):
        assert secret not in out + err
        assert not any(secret.encode() in text for text in texts)


def test_runs_on_a_server_need_no_port_here(
    shown: Ui, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where MLflow's server runs on this machine, at the port that ours would have."""
    monkeypatch.chdir(shown.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shown.address)
    taken = shown.address.rpartition(":")[2]
    monkeypatch.setattr(sys, "argv", ["lookalike", "ui", "--port", taken])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err
    assert caught.value.code in (0, None), said
    assert f"the runs are on a server; open {shown.address}/#/experiments/" in said


@pytest.mark.parametrize("command", ["ui", "serve"])
def test_a_port_in_use_is_told_before_anything_is_loaded(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "params.yaml").write_text(render(Config()))
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["lookalike", command, "--port", str(port)])
        with pytest.raises(SystemExit) as caught:
            main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        f"error: cannot listen on 127.0.0.1:{port} (address already in use); "
        "give another port with --port\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"], "no store was opened"


@pytest.mark.parametrize("host", ["203.0.113.1", "nowhere.invalid"])
def test_an_address_that_is_not_this_machines(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text(render(Config()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lookalike", "serve", "--host", host])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: cannot listen on {host}:5001 (")
    assert line.endswith("; give an address of this machine with --host")
