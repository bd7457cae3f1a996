"""The checkout that a queued experiment was started from."""

from __future__ import annotations

import os
from pathlib import Path

EXPERIMENTS = (".dvc", "tmp", "exps")  # where `dvc exp run --temp` and `--queue` make their copies


def workspace(root: Path) -> Path:
    """The repository itself, where `root` may be the temporary copy of one of its experiments.

    What outlives an experiment belongs there: MLflow's runs, and weights that git does not know.
    """
    place = root.resolve()
    for parent in place.parents:
        if parent.parts[-3:] == EXPERIMENTS:
            return parent.parents[2]
    return place


def experiment() -> str:
    """The name of the experiment that runs, as `dvc exp show` has it; "" under `dvc repro`."""
    return os.environ.get("DVC_EXP_NAME", "")
