"""The few figures that a pipeline is compared by: on its run's line in MLflow, in DVC's metrics.

Everything else that is measured lies in files for machines and in the stages' runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike.artifacts import Artifacts
from lookalike.config import KINDS

if TYPE_CHECKING:
    import pandas as pd

DISTANCES = {"reid": "frechet_reid", "inception": "fid"}  # by `gan.distance_features`


def arm_headline(metrics: Mapping[str, Any], validation: Mapping[str, float]) -> dict[str, float]:
    """Of one arm, from its evaluation on test persons and on validation persons; fractions of 1."""
    test = {name: float(metrics[name]) for name in ("rank_1", "mAP")}
    return test | {"validation_mAP": float(validation["mAP"])}


def filter_headline(summary: Mapping[str, Any]) -> dict[str, float]:
    """Of the filter of one kind of generated images."""
    return {"pass_rate": float(summary["pass_rate"])}


def generator_headline(history: pd.DataFrame) -> dict[str, float]:
    """Of the generator: its distances after training, called after their features."""
    distances = [name for name in DISTANCES.values() if name in history]
    return {name: float(history[name].iloc[-1]) for name in distances}


def write_headline(values: Mapping[str, float], path: Path) -> None:
    """Write what DVC shows as metrics."""
    path.write_text(json.dumps(values, indent=2) + "\n")


def read_headline(artifacts: Artifacts, arms: Sequence[str]) -> dict[str, float]:
    """The figures of a finished pipeline, named `rank_1/ARM`, `pass_rate/KIND`: side by side.

    Args:
        artifacts: what the stages have made.
        arms: those of `params.yaml`.
    """
    found = _read(artifacts.train_gan.headline)
    for arm in arms:
        found |= of_part(arm, _read(artifacts.evaluate(arm).headline))
    for kind in KINDS:
        found |= of_part(kind, _read(artifacts.filter(kind).headline))
    return found


def of_part(part: str, values: Mapping[str, float]) -> dict[str, float]:
    """The figures of one arm or kind under the names that they have in the pipeline's run."""
    return {f"{name}/{part}": value for name, value in values.items()}


def view(arms: Sequence[str]) -> str:
    """The figures as columns of MLflow's list of runs, which shows none by itself.

    Returns:
        The JSON that MLflow's UI keeps where somebody shares a view.
    """
    parts = [("rank_1", arms), ("mAP", arms), ("pass_rate", KINDS)]
    names = [*DISTANCES.values(), *(f"{name}/{part}" for name, of in parts for part in of)]
    return json.dumps({"selectedColumns": [f"metrics.`{name}`" for name in names]})


def _read(path: Path) -> dict[str, float]:
    values: dict[str, float] = json.loads(path.read_text())
    return values
