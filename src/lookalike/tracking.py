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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from lookalike.addresses import hidden
from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.files import sha256_path, write_text
from lookalike.names import counted
from lookalike.processes import Terminated, alive, process_tags, terminable
from lookalike.progress import say
from lookalike.provenance import dvc_digests, git_sha, pipeline_digest, relative_name, uncommitted
from lookalike.reachable import is_lost, reason, server_trouble
from lookalike.store import Store, connect, locked, quoted
from lookalike.waiting import FOLDER as WAITING
from lookalike.waiting import Record, Waiting
from lookalike.workspace import experiment, workspace

if TYPE_CHECKING:
    from mlflow.entities import Run

RETRY = 30.0  # seconds until a lost MLflow is asked again
# What MLflow answers where there is no such run; a server with accounts calls it forbidden.
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED")
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

    Where MLflow is lost meanwhile, records wait on disk and the work goes on; see `Waiting`.

    Attributes:
        run_id, parent_run_id: of the stage and of the pipeline it belongs to.
        store: where the runs are.
        root: the repository root.
    """

    def __init__(self, store: Store, run_id: str, parent_run_id: str, root: Path):
        self.store, self.parent_run_id, self.root = store, parent_run_id, root
        self._run_id = run_id
        self._waiting = Waiting(waiting_folder(root) / run_id)
        self._tried = 0.0  # when MLflow was asked last whether it is back

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
            if error.error_code not in ABSENT:
                raise
            return None
        return status

    def params(self, values: Mapping[str, object]) -> None:
        """See Tracker."""
        texts = {key: hidden(str(value)) for key, value in flatten(values).items()}
        self._record({"kind": "params", "values": texts})

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """See Tracker; numpy and torch scalars are fine.

        Raises:
            TypeError, ValueError: a value is not a number.
        """
        self._record(_points(values, step))

    def headline(self, values: Mapping[str, float]) -> None:
        """See Tracker; in the parent run, which MLflow lists."""
        self._record(_points(values, 0), self.parent_run_id)

    def tags(self, values: Mapping[str, str]) -> None:
        """See Tracker."""
        texts = {key: hidden(str(value)) for key, value in values.items()}
        self._record({"kind": "tags", "values": texts})

    def artifact(self, path: Path, folder: str = "") -> None:
        """See Tracker."""
        self._record({"kind": "artifact", "path": str(path), "folder": folder})

    def dataset(self, frame: pd.DataFrame, name: str, digest: str, context: str) -> None:
        """See Tracker; MLflow holds 36 characters of a digest, which keeps an MD5 whole."""
        from mlflow.data.pandas_dataset import from_pandas

        with warnings.catch_warnings():  # about integer columns that could hold missing values
            warnings.simplefilter("ignore", UserWarning)
            described = from_pandas(frame, name=name, digest=digest[:36]).to_dict()
        # As its source MLflow names git's remote, and hides only passwords without a slash.
        described = {key: hidden(value) for key, value in described.items()}
        self._record({"kind": "dataset", "described": described, "context": context})

    def arrive(self) -> None:
        """Make sure that MLflow has all records, for what cannot go on without them.

        Raises:
            UserError: it is lost.
        """
        if len(self._waiting):
            self._hand_over()
        if len(self._waiting):
            raise UserError(
                f"MLflow is lost, and what comes now needs it: when {hidden(self.store.uri)} is "
                "back, run the command again"
            )

    def end(self, status: str) -> None:
        """Set the run's status and its pipeline's; hand over what waits, or say that it does."""
        for run_id in (self.run_id, self.parent_run_id):
            record = {"kind": "status", "status": status, "time": int(time.time() * 1000)}
            self._record(record, run_id)
        if waits := len(self._waiting):
            self._hand_over()
            waits = len(self._waiting)
        if waits:
            say(
                f"MLflow is not back, and has {counted(waits, 'record')} of this run to come: the "
                f"next stage or `lookalike ui` hands over what is in {self._waiting.folder}"
            )

    def _record(self, record: Record, run_id: str = "") -> None:
        """Write to MLflow, or behind what waits for it already."""
        record = {**record, "run_id": run_id or self.run_id}
        if not len(self._waiting):
            try:
                return write_record(self.store, record)
            except Exception as error:
                if not is_lost(error):
                    raise
                say(
                    f"MLflow is lost ({reason(error)}): the work goes on, and what it records "
                    f"waits in {self._waiting.folder}"
                )
                self._tried = time.monotonic()
        self._waiting.add(record)
        if time.monotonic() - self._tried > RETRY:
            self._hand_over()
        return None

    def _hand_over(self) -> None:
        self._tried = time.monotonic()
        if server_trouble(self.store.uri):
            return
        try:
            self._waiting.hand_over(partial(write_record, self.store))
        except Exception as error:
            if not is_lost(error):
                raise
        else:
            say("MLflow is back and has all records")


def write_record(store: Store, record: Record) -> None:
    """Write what a stage has recorded; the same once more changes nothing but doubles points."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    client, run_id = store.client, record["run_id"]
    match record["kind"]:
        case "params":
            params = [Param(key, value) for key, value in record["values"].items()]
            for first in range(0, len(params), 100):  # MLflow's limit per request
                client.log_batch(run_id, params=params[first : first + 100])
        case "metrics":
            time_, step = record["time"], record["step"]
            points = [Metric(key, value, time_, step) for key, value in record["values"].items()]
            client.log_batch(run_id, metrics=points)
        case "tags":
            tags = [RunTag(key, value) for key, value in record["values"].items()]
            client.log_batch(run_id, tags=tags)
        case "artifact":
            keep = client.log_artifacts if Path(record["path"]).is_dir() else client.log_artifact
            keep(run_id, record["path"], record["folder"] or None)
        case "dataset":
            context = [InputTag("mlflow.data.context", record["context"])]
            given = DatasetInput(Dataset(**record["described"]), context)
            client.log_inputs(run_id, [given])
        case "status":
            client.set_terminated(run_id, record["status"], record["time"])
        case kind:
            raise AssertionError(kind)


def _points(values: Mapping[str, float], step: int) -> Record:
    """A record of metrics; its time is now, whenever it is written."""
    numbers = {key: float(value) for key, value in values.items()}
    return {
        "kind": "metrics",
        "values": numbers,
        "step": int(step),
        "time": int(time.time() * 1000),
    }


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
        reconcile(store, root)
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
    tracker = MlflowTracker(store, child.info.run_id, parent.info.run_id, root)
    try:
        with terminable():
            yield tracker
        status = "FINISHED"
    except (KeyboardInterrupt, Terminated):
        status = "KILLED"
        raise
    finally:
        tracker.end(status)


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
    write_text(path, hidden(json.dumps(record, indent=2)) + "\n")


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, keys joined with dots."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def waiting_folder(root: Path) -> Path:
    """Where records wait, a folder per run."""
    return workspace(root) / WAITING


def reconcile(store: Store, root: Path) -> None:
    """Hand over what waits; set runs to KILLED that a dead process of this host left as RUNNING."""
    for folder in sorted(waiting_folder(root).glob("*")):
        _hand_over(store, folder)
    mine = f"tags.`lookalike.host` = {quoted(socket.gethostname())}"
    filter_string = f"attributes.status = 'RUNNING' and {mine}"
    for run in store.client.search_runs([store.experiment_id], filter_string):
        if not alive(run.data.tags):
            store.client.set_terminated(run.info.run_id, "KILLED")


def _hand_over(store: Store, folder: Path) -> None:
    """What waits of a run, unless somebody still works at it, here or on another host."""
    from mlflow.exceptions import MlflowException

    try:
        tags = store.client.get_run(folder.name).data.tags
        if tags.get("lookalike.host") != socket.gethostname() or alive(tags):
            return
        Waiting(folder).hand_over(partial(write_record, store))
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        say(f"records in {folder} are of a run that this MLflow store does not have; they stay")


def _newest(store: Store, filter_string: str) -> Run | None:
    """The latest run that matches."""
    runs = store.client.search_runs(
        [store.experiment_id],
        filter_string,
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return runs[0] if runs else None
