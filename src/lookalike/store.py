"""Where MLflow's database is, and how to reach it."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.relocation import DATABASE, artifact_location, relocate
from lookalike.workspace import workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


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

    Raises:
        UserError: that folder's path has a question mark, which would cut the address short.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    if chosen:
        return chosen
    database = own_folder(root) / DATABASE
    if "?" in str(database):
        raise UserError(f"MLflow can keep no database in {database.parent}: rename what has a ?")
    return f"sqlite:///{database}"


def quoted(text: str) -> str:
    """A value in one of MLflow's filters, which knows no escapes but two kinds of quotes."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def own_folder(root: Path) -> Path:
    """Where the store of this checkout lies: `mlruns/`, or what that is a link to."""
    return (workspace(root) / "mlruns").resolve()


def settle(root: Path) -> None:
    """Let the database of a checkout that was moved or copied know where it lies now."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and (own_folder(root) / DATABASE).is_file():
        with locked(root):
            relocate(own_folder(root))


def _without_password(text: str) -> str:
    """Addresses in a message without what stands before an @: it may be a secret."""
    return re.sub(r"//[^/@\s]*@", "//", text)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One process of this checkout at a time: MLflow cannot create its schema twice at once."""
    path = own_folder(root) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # the kernel lets go when the process dies
        yield


def connect(config: Config, root: Path) -> Store:
    """Open the store; creates database and experiment where they are missing.

    Raises:
        UserError: the store does not answer, or the experiment was deleted.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri, name = tracking_uri(root), config.registry.experiment
    settle(root)
    try:
        with locked(root):
            client = MlflowClient(uri)
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                # A server knows its own place for artifacts; ours lie beside the database.
                local = not os.environ.get("MLFLOW_TRACKING_URI")
                place = artifact_location(own_folder(root)) if local else None
                experiment_id = client.create_experiment(name, artifact_location=place)
                experiment = client.get_experiment(experiment_id)
            client.search_registered_models(max_results=1)  # the registry's part of the schema
    except MlflowException as error:
        reason = _without_password(" ".join(error.message.split()))[:300]
        raise UserError(
            f"MLflow's store {_without_password(uri)} does not answer ({reason}); start it, or "
            "unset MLFLOW_TRACKING_URI to use the one in mlruns/"
        ) from error
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"experiment {name} is deleted; restore it with `mlflow experiments restore`"
        )
    return Store(uri, client, name, experiment.experiment_id)
