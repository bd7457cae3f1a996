"""Where MLflow's store is, and how it is opened."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.addresses import Address, hidden
from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.processes import alone
from lookalike.reachable import VARIABLE, check, explained
from lookalike.relocation import DATABASE, artifact_location, relocate
from lookalike.workspace import workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

SETTINGS = {  # of MLflow, where the person has none
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # 14 s; seven are four minutes without a word
    # Files go through the server. It would send us to its store, by a name that only it may know.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
}


@dataclass(frozen=True)
class Store:
    """MLflow's database and the experiment in it.

    Attributes:
        uri: the tracking (and registry) URI; absolute where it is a file.
        client: speaks to that URI, whatever MLflow's global setting is.
        experiment, experiment_id: where runs go.
    """

    uri: str
    client: MlflowClient
    experiment: str
    experiment_id: str

    @contextmanager
    def selected(self) -> Iterator[None]:
        """Make this store MLflow's global one for a while; parts of its registry need that."""
        import mlflow

        before = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type] # None unsets it


def tracking_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite database in the repository's `mlruns/`.

    What the variable says is rewritten in the environment, so that no library prints a password:
    those of a server go where MLflow looks for them, those of a database are encoded.

    Raises:
        UserError: that folder's path has a question mark, which would cut the address short.
    """
    chosen = os.environ.get(VARIABLE)
    if not chosen:
        database = own_folder(root) / DATABASE
        if "?" in str(database):
            raise UserError(
                f"MLflow can keep no database in {database.parent}: rename what has a ?"
            )
        return f"sqlite:///{database}"
    address = Address.parse(chosen)
    uri = address.encoded
    if address.scheme in ("http://", "https://") and address.user and address.password:
        os.environ["MLFLOW_TRACKING_USERNAME"] = address.user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = address.password
        uri = address.plain
    os.environ[VARIABLE] = uri
    return uri


def quoted(text: str) -> str:
    """A value in one of MLflow's filters, which knows no escapes but two kinds of quotes."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def own_folder(root: Path) -> Path:
    """Where the store of this checkout lies: `mlruns/`, or what that is a link to."""
    return (workspace(root) / "mlruns").resolve()


def short_name(uri: str, root: Path) -> str:
    """One word for a store: `own` for this checkout's database, wherever that is moved, or digits.

    Whoever opens it, with whatever password, it is the same store.
    """
    file = uri.removeprefix("sqlite:///")
    place = hidden(uri).rstrip("/") if file == uri else str(Path(file).resolve())
    if place == str(own_folder(root) / DATABASE):
        return "own"
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def settle(root: Path) -> str:
    """The store's address, when it can be opened and knows where it lies: checkouts are moved.

    Raises:
        UserError: it cannot be opened.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It would print each error's stack trace before it raises it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    uri, local = tracking_uri(root), not os.environ.get(VARIABLE)
    if local and not (own_folder(root) / DATABASE).exists():
        return uri  # of a database that is not made yet
    with locked(root):
        check(uri)
        if local:
            relocate(own_folder(root))
    return uri


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One process of this checkout at a time: MLflow cannot create its schema twice at once."""
    path = own_folder(root) / ".lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(path))
        except OSError as error:
            raise UserError(
                f"cannot write {path} ({(error.strerror or '').lower()}): MLflow's runs are kept "
                f"in {path.parent}, which must be a folder that you may write to"
            ) from error
        yield


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection, which takes a fifth of MLflow's imports and finds nothing."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def connect(config: Config, root: Path) -> Store:
    """Open the store; creates database and experiment where they are missing.

    Raises:
        UserError: the store cannot be opened, or the experiment was deleted.
    """
    uri, name = settle(root), config.registry.experiment
    with locked(root), _uncollected():
        from mlflow import MlflowClient

        try:
            client = MlflowClient(uri)
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                # A server knows its own place for artifacts; ours lie beside the database.
                local = not os.environ.get(VARIABLE)
                place = artifact_location(own_folder(root)) if local else None
                experiment_id = client.create_experiment(name, artifact_location=place)
                experiment = client.get_experiment(experiment_id)
            client.search_registered_models(max_results=1)  # the registry's part of the schema
        except Exception as error:
            raise explained(error, uri) or error from error
    if experiment.lifecycle_stage == "deleted":
        command = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        before = "" if os.environ.get(VARIABLE) else f"{VARIABLE}={shlex.quote(uri)} "
        raise UserError(
            f"experiment {name} is deleted; `{before}{command}` restores it, another name for "
            "registry.experiment in params.yaml begins a new one"
        )
    return Store(uri, client, name, experiment.experiment_id)
