"""Where metrics, parameters and figures go: the protocol, a null tracker, and MLflow's.

Trainers see `Tracker` only, so that they run on a machine without MLflow, which is imported when a
run is opened.
"""

from __future__ import annotations

import json
import socket
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from lookalike.addresses import hidden
from lookalike.config import Config
from lookalike.files import sha256_path
from lookalike.processes import Terminated, alive, process_tags, terminable
from lookalike.provenance import dvc_digests, git_sha, pipeline_digest, relative_name, uncommitted
from lookalike.store import Store, connect, locked, quoted
from lookalike.workspace import experiment

if TYPE_CHECKING:
    from mlflow.entities import Run

IS_PARENT = "tags.`lookalike.kind` = 'pipeline'"


class Tracker(Protocol):
    """One run's record."""

    @property
    def run_id(self) -> str:
        """The run's identifier; empty where nothing is kept."""

    def params(self, values: Mapping[str, object]) -> None:
        """Parameters, nested mappings flattened with dots; once, a resumed run keeps the first."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Points of curves; `step` counts images seen while training."""

    def headline(self, values: Mapping[str, float]) -> None:
        """The few figures that the whole pipeline is compared by, beside its name."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Free text about the run."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a file, or everything in a folder, with the run."""

    def dataset(self, frame: pd.DataFrame, name: str, digest: str, context: str) -> None:
        """Record a manifest as the run's input (`context`: training, evaluation, ...)."""


class NullTracker:
    """Keeps nothing."""

    run_id = ""

    def params(self, values: Mapping[str, object]) -> None:
        """See Tracker."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """See Tracker."""

    def headline(self, values: Mapping[str, float]) -> None:
        """See Tracker."""

    def tags(self, values: Mapping[str, str]) -> None:
        """See Tracker."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """See Tracker."""

    def dataset(self, frame: pd.DataFrame, name: str, digest: str, context: str) -> None:
        """See Tracker."""


class MlflowTracker:
    """One MLflow run, by its id; makes no use of MLflow's global active run.

    Attributes:
        run_id, parent_run_id: of the stage and of the pipeline it belongs to.
        store: where the runs are.
        root: the repository root.
    """

    def __init__(self, store: Store, run_id: str, parent_run_id: str, root: Path):
        self.store, self.parent_run_id, self.root = store, parent_run_id, root
        self._run_id = run_id

    @property
    def run_id(self) -> str:
        """See Tracker."""
        return self._run_id

    def status_of(self, run_id: str) -> str | None:
        """Status of another run of this store, say FINISHED; None if it is not here."""
        from mlflow.exceptions import MlflowException

        try:
            status: str = self.store.client.get_run(run_id).info.status
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # a server that is gone, say
                raise
            return None
        return status

    def params(self, values: Mapping[str, object]) -> None:
        """See Tracker."""
        from mlflow.entities import Param

        params = [Param(key, hidden(str(value))) for key, value in flatten(values).items()]
        for first in range(0, len(params), 100):  # MLflow's limit per request
            self.store.client.log_batch(self.run_id, params=params[first : first + 100])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """See Tracker; numpy and torch scalars are fine.

        Raises:
            TypeError, ValueError: a value is not a number.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, int(step)) for key, value in values.items()]
        self.store.client.log_batch(self.run_id, metrics=points)

    def headline(self, values: Mapping[str, float]) -> None:
        """See Tracker; in the parent run, which MLflow lists."""
        MlflowTracker(self.store, self.parent_run_id, "", self.root).metrics(values)

    def tags(self, values: Mapping[str, str]) -> None:
        """See Tracker."""
        from mlflow.entities import RunTag

        tags = [RunTag(key, hidden(str(value))) for key, value in values.items()]
        self.store.client.log_batch(self.run_id, tags=tags)

    def artifact(self, path: Path, folder: str = "") -> None:
        """See Tracker."""
        keep = self.store.client.log_artifacts if path.is_dir() else self.store.client.log_artifact
        keep(self.run_id, str(path), folder or None)

    def dataset(self, frame: pd.DataFrame, name: str, digest: str, context: str) -> None:
        """See Tracker; MLflow holds 36 characters of a digest, which keeps an MD5 whole."""
        from mlflow.data.pandas_dataset import from_pandas
        from mlflow.entities import Dataset, DatasetInput, InputTag

        with warnings.catch_warnings():  # about integer columns that could hold missing values
            warnings.simplefilter("ignore", UserWarning)
            described = from_pandas(frame, name=name, digest=digest[:36]).to_dict()
        # As its source MLflow names git's remote, and hides only passwords without a slash.
        described = {key: hidden(value) for key, value in described.items()}
        tags = [InputTag("mlflow.data.context", context)]
        self.store.client.log_inputs(self.run_id, [DatasetInput(Dataset(**described), tags)])


@contextmanager
def open_run(stage: str, config: Config, root: Path) -> Iterator[MlflowTracker]:
    """Run a stage as a child of its pipeline's run; only the main process may call this.

    The parent stands for one commit with one params.yaml, or for one experiment, whose name it
    has then. Both runs are RUNNING meanwhile, then
    FINISHED; FAILED after an exception; KILLED after SIGTERM or an interrupt. What SIGKILL left as
    RUNNING is set to KILLED when the next stage starts, or when somebody looks (`lookalike ui`).

    Args:
        stage: DVC's name of it, say `train_reid@baseline`.
        config: names the experiment.
        root: the repository root.
    """
    store = connect(config, root)
    client, dirty = store.client, uncommitted(root)
    digest, sha = pipeline_digest(root), git_sha(root)
    common = {
        "lookalike.pipeline": digest,
        "lookalike.profile": config.profile,
        "lookalike.git_sha": sha,
        "lookalike.dirty": str(bool(dirty)).lower(),
        "mlflow.source.git.commit": sha,
        **process_tags(),
    }
    if experiment():
        common["lookalike.experiment"] = experiment()
    if dirty:
        common["lookalike.uncommitted"] = ", ".join(dirty)[:5000]
    with locked(root):
        reconcile(store)
        parent = _newest(store, f"tags.`lookalike.pipeline` = '{digest}' and {IS_PARENT}")
        if parent is None:
            tags = {**common, "lookalike.kind": "pipeline"}
            name = experiment() or f"{config.profile} {sha[:7]}"
            if dirty and not experiment():
                name += f" + edits {digest[:4]}"
            parent = client.create_run(store.experiment_id, tags=tags, run_name=name)
            # All of them, so that two pipelines can be compared; stages record their own parts.
            MlflowTracker(store, parent.info.run_id, "", root).params(config.model_dump())
        else:
            client.update_run(parent.info.run_id, status="RUNNING")
            for key, value in common.items():
                client.set_tag(parent.info.run_id, key, value)
        tags = {
            **common,
            "mlflow.parentRunId": parent.info.run_id,
            "lookalike.kind": "stage",
            "lookalike.stage": stage,
        }
        mine = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        previous = _newest(store, f"{mine} and tags.`lookalike.stage` = {quoted(stage)}")
        if previous is not None and previous.info.status in ("KILLED", "FAILED"):
            tags["lookalike.resumed_from"] = previous.info.run_id
        child = client.create_run(store.experiment_id, tags=tags, run_name=stage)

    status = "FAILED"
    try:
        with terminable():
            yield MlflowTracker(store, child.info.run_id, parent.info.run_id, root)
        status = "FINISHED"
    except (KeyboardInterrupt, Terminated):
        status = "KILLED"
        raise
    finally:
        for run in (child, parent):
            client.set_terminated(run.info.run_id, status)


def write_run_json(path: Path, tracker: MlflowTracker, inputs: Sequence[Path]) -> None:
    """Write which run made a stage's outputs, and from which bytes; tags the run with them too.

    A hit in DVC's run-cache restores this file, so it names the run that did the work.

    Args:
        path: `artifacts/STAGE/run.json`.
        tracker: the stage's run.
        inputs: files and folders that the stage read, relative to the root.
    """
    root, dirty = tracker.root, uncommitted(tracker.root)
    digests = dvc_digests(inputs, root)
    tracker.tags({f"lookalike.input.{name}": digest for name, digest in digests.items()})
    record = {
        "run_id": tracker.run_id,
        "experiment": tracker.store.experiment,
        "parent_run_id": tracker.parent_run_id,
        "git_sha": git_sha(root),
        "dirty": bool(dirty),
        "inputs": {relative_name(p, root): sha256_path(root / p) for p in inputs},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(hidden(json.dumps(record, indent=2)) + "\n")


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, keys joined with dots."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def reconcile(store: Store) -> None:
    """Set runs to KILLED that a dead process of this host left as RUNNING."""
    mine = f"tags.`lookalike.host` = {quoted(socket.gethostname())}"
    filter_string = f"attributes.status = 'RUNNING' and {mine}"
    for run in store.client.search_runs([store.experiment_id], filter_string):
        if not alive(run.data.tags):
            store.client.set_terminated(run.info.run_id, "KILLED")


def _newest(store: Store, filter_string: str) -> Run | None:
    """The latest run that matches."""
    runs = store.client.search_runs(
        [store.experiment_id],
        filter_string,
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return runs[0] if runs else None
