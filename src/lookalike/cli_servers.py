"""Starting a server: `lookalike ui` (MLflow's screen) and `lookalike serve` (the champion)."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from lookalike.errors import UserError
from lookalike.names import PARAMS, THE_CHAMPION

app = typer.Typer()

LOCALHOST = "127.0.0.1"
VIEW = "lookalike"  # what MLflow's UI calls our columns
SHADOW = Path(".lookalike") / "shadow.jsonl"  # how a candidate's answers differ


def _port(what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option("--port", min=1, max=65535, help=what)
    return option


@app.command()
def ui(port: Annotated[int, _port("Where the browser finds it.")] = 5000) -> None:
    """Open MLflow's UI on this repository's runs and models."""
    from lookalike.config import load_config
    from lookalike.progress import say
    from lookalike.store import connect, locked, own_folder, tracking_uri

    on_server = tracking_uri(Path.cwd()).startswith("http")
    if not on_server:  # that server may well have our port
        check_port(LOCALHOST, port)
    config = load_config(PARAMS)
    store = connect(config, Path.cwd())
    from lookalike.report.headline import view
    from lookalike.tracking import reconcile

    with locked(Path.cwd()):  # a stage that starts hands over the same records
        reconcile(store, Path.cwd())  # what kill -9 left as running
    columns = view(list(config.arms))
    store.client.set_experiment_tag(store.experiment_id, f"mlflow.sharedViewState.{VIEW}", columns)
    # MLflow opens at its other face, for language models, which shows no run.
    page = f"#/experiments/{store.experiment_id}/runs"
    page += f"?workflowType=machine_learning&viewStateShareKey={VIEW}"
    if on_server:
        say(f"the runs are on a server; open {store.uri.rstrip('/')}/{page}")
        return
    say(f"open http://{LOCALHOST}:{port}/{page} (in a few seconds; Ctrl+C ends it)")
    environment = {
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # an argument could be read by all users
        "MLFLOW_ARTIFACTS_DESTINATION": str(own_folder(Path()) / "artifacts"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nothing here is a job of that server's
        "MLFLOW_UVICORN_OPTS": "--log-level warning",
        "PYTHONWARNINGS": "ignore",  # of MLflow about its own libraries
    }
    server = ["-m", "mlflow", "server", "--host", LOCALHOST, "--port", str(port)]
    _become([*server, "--workers", "1"], environment)


@app.command()
def serve(
    port: Annotated[int, _port("Where clients find it.")] = 5001,
    version: Annotated[str, typer.Option(help="@champion, or a version number.")] = THE_CHAMPION,
    host: Annotated[str, typer.Option(help="0.0.0.0 for all of this machine's addresses.")] = (
        LOCALHOST
    ),
    shadow: Annotated[
        str, typer.Option(help="@candidate, or a version, that answers beside it unheard.")
    ] = "",
    docs: Annotated[bool, typer.Option("--docs", help="With /docs and /openapi.json.")] = False,
) -> None:
    """Serve the champion over HTTP: POST /invocations with base64 images; GET /metrics counts."""
    from lookalike.config import load_config
    from lookalike.store import settle

    config = load_config(PARAMS)
    name = config.registry.model
    check_port(host, port)
    uri = settle(Path.cwd())
    numbers = [int(asked) for asked in (version, shadow) if asked.isdecimal()]
    if numbers:  # an alias is never at a version that was retired
        from lookalike.registry.ledger import Ledger

        ledger = Ledger(config, Path.cwd())
        for number in numbers:
            ledger.check_in_use(ledger.history(), number)
    environment = {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        # glibc gives back at once what is larger. Left alone it learns from the first large picture
        # to keep the next ones.
        "MALLOC_MMAP_THRESHOLD_": str(4 * 1024 * 1024),
    }
    script = Path(__file__).parent / "registry" / "server.py"
    # -P: this package's folder must not be where modules are looked for.
    options = ["--docs"] if docs else []
    if shadow:
        options += ["--shadow", _uri(name, shadow), str(Path.cwd() / SHADOW)]
    _become(["-P", str(script), _uri(name, version), host, str(port), *options], environment)


def _uri(name: str, version: str) -> str:
    """As MLflow calls a version, which is an alias with an @ or a number."""
    return f"models:/{name}{version if version.startswith('@') else f'/{version}'}"


def check_port(host: str, port: int) -> None:
    """Refuse a port that nobody can listen on, before anything is loaded for it.

    Raises:
        UserError: it is in use or not allowed, or this machine has no such address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
            trial.bind(address)
    except OSError as error:
        ours = error.errno in (errno.EADDRINUSE, errno.EACCES)
        option = "another port with --port" if ours else "an address of this machine with --host"
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot listen on {host}:{port} ({reason}); give {option}") from None


def _become(arguments: list[str], environment: dict[str, str]) -> None:
    """Python with these arguments takes this process's place, so that a signal reaches it."""
    everything = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **environment}
    os.execve(sys.executable, [sys.executable, *arguments], everything)
