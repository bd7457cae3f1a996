"""Whether MLflow's store can be opened, asked before MLflow is; and its errors in one line.

MLflow retries for minutes without a word, creates its tables in whatever database it is given, and
lets the errors of its libraries through.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from lookalike.addresses import hidden
from lookalike.errors import UserError
from lookalike.progress import say

if TYPE_CHECKING:
    from sqlalchemy import URL

PATIENCE = 10.0  # seconds for a server to answer, or for another program to let go of a database
PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433}
VARIABLE = "MLFLOW_TRACKING_URI"
ELSEWHERE = f"start it, correct {VARIABLE}, or unset it to use the store in mlruns/"
ADVICE = f"give {VARIABLE} an http(s):// server or a database (sqlite, postgresql, mysql, mssql)"


def check(uri: str) -> None:
    """Ask whether there is a store, or room for one.

    Raises:
        UserError: there is none, in one line that says what to do.
    """
    scheme = uri.partition(":")[0]
    if scheme in ("http", "https") and "://" in uri:
        _await_server(uri)
    elif scheme.partition("+")[0] in ("sqlite", *PORTS):
        _check_database(uri)
    elif scheme != "databricks":
        raise UserError(f"MLflow has no store at {hidden(uri)}; {ADVICE}")


def _await_server(uri: str) -> None:
    _patiently(f"MLflow's server {hidden(uri)}", partial(server_trouble, uri), ELSEWHERE)


def server_trouble(uri: str) -> str:
    """Why a server does not answer now; nothing where it does, or where there is no server."""
    if not uri.startswith(("http://", "https://")):
        return ""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    ask = partial(http_request, credentials, max_retries=0, timeout=5, raise_on_status=False)
    try:
        status: int = ask("/health", "GET").status_code
    except MlflowException as error:
        return reason(error)
    return f"status {status}" if status in (502, 503, 504) else ""


def is_lost(error: BaseException) -> bool:
    """Whether MLflow, its database or its place for files is out of reach, maybe for a while."""
    library = type(error).__module__.partition(".")[0]
    if library == "mlflow":
        return getattr(error, "error_code", "") in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
    return library in ("requests", "urllib3", "botocore", "boto3")


def _check_database(uri: str) -> None:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(uri)
        url.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise UserError(f"{hidden(uri)} is no address of a database; {ADVICE}") from None
    except ModuleNotFoundError as error:
        other = ", and write mysql+pymysql://" if error.name == "MySQLdb" else ""
        raise UserError(
            f"{hidden(uri)} needs the driver {error.name}, which is not installed; run "
            f"`make install-server`{other}"
        ) from None
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            _check_file(Path(url.database))
    else:
        _await_database(url)


def _await_database(url: URL) -> None:
    """Try it once, where MLflow would try for two minutes."""
    import socket

    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    host, port = url.host or "", url.port or PORTS[url.get_backend_name()]

    def answers() -> str:
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError as error:
            return (error.strerror or str(error)).lower()
        return ""

    if host and "," not in host:  # a socket in a folder, or several hosts, are the driver's matter
        _patiently(f"the database at {host}:{port}", answers, ELSEWHERE)
    engine = create_engine(url)
    try:
        engine.connect().close()
    except SQLAlchemyError as error:
        raise explained(error, url.render_as_string()) or error from error
    finally:
        engine.dispose()


def _patiently(what: str, answers: Callable[[], str], advice: str) -> None:
    """Ask until it answers, for a while. `answers` gives the reason why not, or nothing."""
    end, told = time.monotonic() + PATIENCE, False
    while trouble := answers():
        if not told:
            say(f"waiting up to {PATIENCE:.0f} s for {what} ({trouble})")
            told = True
        if time.monotonic() > end:
            raise UserError(f"{what} does not answer ({trouble}); {advice}")
        time.sleep(1)


def _check_file(path: Path) -> None:
    """SQLite's file: none, an empty one, or MLflow's."""
    if path.is_dir():
        raise UserError(f"{path} is a folder where MLflow's database belongs; move it away")
    if not path.exists() or path.stat().st_size == 0:
        return
    tables: set[str] = set()

    def readable() -> str:
        address = f"file:{quote(str(path.resolve()))}?mode=rw"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=1)) as database:
            try:
                found = database.execute("SELECT name FROM sqlite_master").fetchall()
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    return "another program has locked it"
                raise
        tables.update(name for (name,) in found)
        return ""

    try:
        _patiently(f"MLflow's database {path}", readable, _advice("locked"))
    except sqlite3.Error as error:
        raise UserError(f"{path}: {error}; {_advice(str(error))}") from error
    if tables and "experiments" not in tables:
        named = ", ".join(sorted(tables)[:3])
        raise UserError(
            f"{path} is another program's database (it has the tables {named}); move it away, and "
            "MLflow makes its own"
        )


def explained(error: BaseException, uri: str = "") -> UserError | None:
    """An error of MLflow or of its database in one line; None for any other.

    What MLflow calls an invalid value is not the user's doing: its stack trace is worth having.
    """
    library = type(error).__module__.partition(".")[0]
    if library not in ("mlflow", "sqlalchemy", "sqlite3", "alembic"):
        return None
    if getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE":
        return None
    text = reason(error)
    store = f"MLflow's store {hidden(uri)}" if uri else "MLflow's store"
    return UserError(f"{store}: {text}; {_advice(text, getattr(error, 'error_code', ''), uri)}")


def reason(error: BaseException) -> str:
    """The heart of a library's message, in one line."""
    message = str(getattr(error, "orig", None) or getattr(error, "message", None) or error)
    told = re.findall(r"\[Errno -?\d+\] ([^\"'()\[\]]+)", message)  # a system's word for it
    first = message.split("\n[SQL")[0]
    first = re.sub(r"^\(raised as a result of [^)]*\) ", "", " ".join(first.split()))
    first = re.sub(r"^\((\w+\.)*\w+\) ", "", first)
    return hidden(told[-1].strip().lower() if told else first[:300].rstrip(" ."))


def _advice(text: str, code: str = "", uri: str = "") -> str:
    """What helps, by what the library says."""
    if "out-of-date database schema" in text:
        return _schema(text, uri)
    cases = {
        r"UNAUTHENTICATED|PERMISSION_DENIED": "set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to what the server knows",
        r"authentication failed|Access denied": f"correct user and password in {VARIABLE}",
        r"does not exist|Unknown database": f"create it, or correct {VARIABLE}",
        r"Response body|ENDPOINT_NOT_FOUND": f"no MLflow answers there: correct {VARIABLE}",
        r"not a database|malformed|no such (table|column)": "put a copy in its place, or "
        "move it away and MLflow starts an empty one",
        r"read-?only|permission denied|unable to open": "make the file and its folder writable "
        "for you; if it was moved or replaced meanwhile, run the command again",
        r"locked": "end the other program that uses it, and run the command again",
        r"disk is full|no space": "free some space, and run the command again",
    }
    found = (advice for pattern, advice in cases.items() if re.search(pattern, f"{code} {text}"))
    return next(found, "when that is mended, run the command again")


def _schema(text: str, uri: str) -> str:
    """MLflow says "upgrade" even where the database is newer than itself."""
    import mlflow.store
    from mlflow.version import VERSION

    found = re.search(r"found version (\w+)", text)
    versions = Path(mlflow.store.__path__[0], "..", "store", "db_migrations", "versions")
    if found and any(versions.glob(f"{found[1]}_*.py")):
        return f"copy the database, then run `mlflow db upgrade {shlex.quote(hidden(uri))}`"
    return f"a newer MLflow than {VERSION} made it: use that one"
