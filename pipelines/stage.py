"""What every stage needs: its parameters, its run, its folder, and errors in one line."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from lookalike.artifacts import ARTIFACTS, Made
from lookalike.config import ArmConfig, Config, left_out, load_config
from lookalike.data.manifest import write_manifest
from lookalike.device import peak_of_process
from lookalike.files import md5_file
from lookalike.names import PARAMS
from lookalike.processes import alone
from lookalike.progress import say
from lookalike.tracking import NullTracker, Tracker, open_run, write_run_json
from lookalike.training.checkpoint import ResumeState, fingerprint
from lookalike.words import not_among
from pipelines.stopped import stopped

LOCKS = Path(".lookalike/stages")  # a file per stage, which whoever works at it holds
TRACES = Path(".lookalike/errors")  # what is known of a stage that ended over a file
MANIFEST = ARTIFACTS.validate.manifest
BASELINE_MODEL = ARTIFACTS.baseline.model
GENERATOR = ARTIFACTS.train_gan.generator


@dataclass(frozen=True)
class Stage:
    """One stage at work. The working directory is the repository root, as under `dvc repro`."""

    name: str  # as in dvc.yaml, say train_reid@persons
    config: Config
    tracker: Tracker
    root: Path = Path()

    @property
    def folder(self) -> Path:
        """Where the stage writes: artifacts/train_reid/persons for train_reid@persons."""
        return ARTIFACTS.of(self.name)

    def resume(self, *parts: object) -> ResumeState:
        """Resume state keyed by whatever determines the result."""
        return ResumeState(
            Path(".lookalike/resume"), self.name.replace("@", "-"), fingerprint(*parts)
        )

    def dataset(self, frame: pd.DataFrame, context: str, name: str = MANIFEST.parent.name) -> None:
        """Record the rows that the stage works on, under DVC's digest of a manifest of them.

        Of an output such as `trained_on.parquet` that is the digest in `dvc.lock`.
        """
        with TemporaryDirectory() as scratch:
            manifest = Path(scratch) / MANIFEST.name
            write_manifest(frame, manifest)
            self.tracker.dataset(frame, name, md5_file(manifest), context)


def run(name: str, work: Callable[[Stage], None], inputs: list[Path]) -> None:
    """Run `work` inside a tracked run and write `run.json` beside its outputs.

    Under a launcher every process works, but only the first one has a run. A stage runs once at a
    time: where DVC was killed alone, its stage takes a moment to end. Errors that users can mend
    are one line; the exit status is 2.
    """
    try:
        config = load_config(PARAMS)
        if int(os.environ.get("RANK", "0")) > 0:
            work(Stage(name, config, NullTracker()))
            return
        if lacks := left_out(PARAMS):
            say(f"{name}: {lacks}")
        with alone(LOCKS / f"{name}.lock"), open_run(name, config, Path.cwd()) as tracker:
            stage = Stage(name, config, tracker)
            stage.folder.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            work(stage)
            seconds, peak = time.monotonic() - began, peak_of_process() / 2**20
            tracker.metrics({"seconds": seconds, "peak_memory_mb": peak})
            write_run_json(Made(stage.folder).run, tracker, inputs)
    except Exception as error:
        sys.exit(stopped(error, name, TRACES))


def choice(options: list[str]) -> str:
    """The one positional argument, which must be among `options`."""
    stage, given = Path(sys.argv[0]).stem, sys.argv[1:]
    if len(given) == 1 and given[0] in options:
        return given[0]
    say(f"usage: python -m pipelines.{stage} {{{','.join(options)}}}")
    if len(given) == 1:
        say(f"{stage}: {not_among(given[0], options)}")
    sys.exit(2)


def chosen_arm() -> tuple[str, ArmConfig]:
    """The arm that the one positional argument names, and what it is."""
    stage = "@".join([Path(sys.argv[0]).stem, *sys.argv[1:2]])
    try:
        arms = load_config(PARAMS).arms
    except Exception as error:
        sys.exit(stopped(error, stage))
    name = choice(list(arms))
    return name, arms[name]
