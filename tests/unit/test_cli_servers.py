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
from pathlib import Path
from typing import Any

import pytest

from lookalike.cli import main
from lookalike.config import Config
from lookalike.names import CHAMPION
from lookalike.profiles import render
from lookalike.tracking import open_run


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


def test_the_ui_shows_the_runs_the_artifacts_and_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "100% real"
    root.mkdir()
    (root / "params.yaml").write_text(render(Config()))
    config = Config()
    with open_run("evaluate@baseline", config, root) as tracker:
        tracker.metrics({"mAP": 0.5})
        tracker.artifact(root / "params.yaml")
    client, model = tracker.store.client, config.registry.model
    client.create_registered_model(model)
    version = client.create_model_version(model, "nowhere", tracker.run_id)
    client.set_registered_model_alias(model, CHAMPION, version.version)

    port = unused_port()
    with started("ui", "--port", str(port), folder=root) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        server = f"http://127.0.0.1:{port}"
        page = re.fullmatch(rf"open {server}/#/experiments/(\d+)/runs\?(\S+) .*\n", said)
        assert page and page[2] == "workflowType=machine_learning", said
        api = f"{server}/api/2.0/mlflow"
        runs = ask(f"{api}/runs/search", experiment_ids=[page[1]])["runs"]
        assert {run["info"]["run_id"] for run in runs} == {tracker.run_id, tracker.parent_run_id}
        found = ask(f"{api}/registered-models/get?name={model}")["registered_model"]
        assert found["aliases"] == [{"alias": CHAMPION, "version": "1"}]
        listed = ask(f"{api}/artifacts/list?run_id={tracker.run_id}")["files"]
        assert [file["path"] for file in listed] == ["params.yaml"]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    assert sorted(path.name for path in root.iterdir()) == ["mlruns", "params.yaml"], "a stray"


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
