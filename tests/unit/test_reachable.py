"""What is wrong with a store is one line, told soon, and its advice works."""

from __future__ import annotations

import http.server
import importlib.util
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from lookalike import reachable
from lookalike.cli import main
from lookalike.reachable import explained


@pytest.fixture
def show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], tuple[int, list[str]]]:
    """`lookalike registry show` in a folder of its own: status, and lines on stderr."""
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(reachable, "PATIENCE", 1.0)
    monkeypatch.setattr(sys, "argv", ["lookalike", "registry", "show"])

    def run() -> tuple[int, list[str]]:
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr().err.splitlines()

    return run


def damaged(place: Path) -> None:
    place.write_bytes(bytes(range(1, 256)) * 100)


def foreign(place: Path) -> None:
    with closing(sqlite3.connect(place)) as database:
        database.execute("CREATE TABLE songs (title)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged, "mlflow.db: file is not a database; put a copy in its place, or move it away"),
        (foreign, "is another program's database (it has the tables songs); move it away"),
        (Path.mkdir, "is a folder where MLflow's database belongs; move it away"),
    ],
)
def test_what_is_no_database_of_mlflow(
    make: Callable[[Path], None],
    message: str,
    tmp_path: Path,
    show: Callable[[], tuple[int, list[str]]],
) -> None:
    place = tmp_path / "mlruns" / "mlflow.db"
    place.parent.mkdir()
    make(place)
    before = None if place.is_dir() else place.read_bytes()
    status, (line,) = show()
    assert status == 2
    assert message in line
    assert before is None or place.read_bytes() == before, "MLflow wrote into it"
    if make is damaged:
        place.rename(tmp_path / "moved away")  # as the line says
        assert show()[0] == 0


@pytest.mark.parametrize("name", ["mlruns", "mlruns/.lock"])
def test_something_else_where_the_folder_or_the_lock_belongs(
    name: str, tmp_path: Path, show: Callable[[], tuple[int, list[str]]]
) -> None:
    place = tmp_path / name
    if name == "mlruns":
        place.touch()
    else:
        place.mkdir(parents=True)
    status, (line,) = show()
    assert status == 2
    assert line.startswith(f"error: cannot write {tmp_path / 'mlruns' / '.lock'} (")
    assert "must be a folder that you may write to" in line


def test_a_database_that_another_program_has_locked(
    tmp_path: Path, show: Callable[[], tuple[int, list[str]]]
) -> None:
    place = tmp_path / "mlruns" / "mlflow.db"
    place.parent.mkdir()
    foreign(place)
    with closing(sqlite3.connect(place)) as database:
        database.execute("BEGIN EXCLUSIVE")
        status, (waiting, line) = show()
    assert status == 2
    assert (
        waiting
        == f"waiting up to 1 s for MLflow's database {place} (another program has locked it)"
    )
    assert line.endswith("end the other program that uses it, and run the command again")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_may_only_be_read(
    tmp_path: Path, show: Callable[[], tuple[int, list[str]]]
) -> None:
    assert show()[0] == 0
    (tmp_path / "mlruns").chmod(0o500)
    (tmp_path / "mlruns" / ".lock").chmod(0o400)
    try:
        status, (line,) = show()
    finally:
        (tmp_path / "mlruns").chmod(0o700)
    assert status == 2
    assert "permission denied" in line


@pytest.mark.parametrize(
    ("address", "driver", "advice"),
    [
        ("postgresql", "psycopg", "run `make install-server`"),
        ("mysql+pymysql", "pymysql", "run `make install-server`"),
        ("mysql", "MySQLdb", "run `make install-server`, and write mysql+pymysql://"),
    ],
)
def test_a_driver_that_is_missing(
    address: str,
    driver: str,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
    show: Callable[[], tuple[int, list[str]]],
) -> None:
    if importlib.util.find_spec(driver):
        pytest.skip(f"{driver} is installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{address}://alice:SEC@RET@127.0.0.1/runs")
    status, (line,) = show()
    assert status == 2
    assert line == (
        f"error: {address}://127.0.0.1/runs needs the driver {driver}, which is not installed; "
        f"{advice}"
    )


@pytest.mark.parametrize(
    "address",
    ["foo://host/x", "./folder", "http:/127.0.0.1:9", "postgresql+foo://h/x", "mysql://h:x/y"],
)
def test_an_address_of_no_store(
    address: str, monkeypatch: pytest.MonkeyPatch, show: Callable[[], tuple[int, list[str]]]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    status, (line,) = show()
    assert status == 2
    assert address in line
    assert "give MLFLOW_TRACKING_URI an http(s):// server or a database" in line


@pytest.mark.parametrize("kind", ["http", "postgresql+psycopg2"])
def test_a_silent_server_is_waited_for_aloud_and_not_for_long(
    kind: str, monkeypatch: pytest.MonkeyPatch, show: Callable[[], tuple[int, list[str]]]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # not listening: nobody answers
        port = probe.getsockname()[1]
        if kind != "http":
            monkeypatch.setattr("sqlalchemy.engine.url.URL.get_dialect", lambda self: Driver)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{kind}://alice:SE/CR@ET@127.0.0.1:{port}")
        began = time.monotonic()
        status, (waiting, line) = show()
    assert status == 2
    assert time.monotonic() - began < 30
    assert waiting.startswith("waiting up to 1 s for ")
    assert f"127.0.0.1:{port} does not answer (connection refused); start it, correct" in line
    assert not any(part in waiting + line for part in ("SE/", "CR", "ET@", "alice"))


class Driver:
    """Of a database, as if installed."""

    @staticmethod
    def import_dbapi() -> None:
        return None


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that is not MLflow's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (200, "no MLflow answers there: correct MLFLOW_TRACKING_URI"),
        (404, "no MLflow answers there: correct MLFLOW_TRACKING_URI"),
        (401, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_a_server_that_is_another_or_asks_who_is_there(
    code: int,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
    show: Callable[[], tuple[int, list[str]]],
) -> None:
    with answering(code) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        status, (line,) = show()
    assert status == 2
    assert advice in line


def test_a_database_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: Callable[[], tuple[int, list[str]]]
) -> None:
    assert show()[0] == 0
    place = tmp_path / "newer.db"
    shutil.copy(tmp_path / "mlruns" / "mlflow.db", place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}")
    with closing(sqlite3.connect(place)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'feedfacecafe'")
    status, (line,) = show()
    assert status == 2
    assert "a newer MLflow than" in line


def test_ours_are_no_errors_of_the_store() -> None:
    assert explained(KeyError("x")) is None
    told = explained(
        MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: X]")
    )
    assert str(told) == (
        "MLflow's store: database or disk is full; free some space, and run the command again"
    )


def test_a_stack_trace_holds_no_password(tmp_path: Path) -> None:
    script = (
        "import sys, lookalike.config\n"
        "from lookalike.cli import main\n"
        "def fail(path): raise RuntimeError('lost http://alice:SEC@RET@host/x')\n"
        "lookalike.config.load_config = fail\n"
        "sys.argv = ['lookalike', 'rollback']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "lost http://host/x" in done.stderr
    assert "RET" not in done.stderr
