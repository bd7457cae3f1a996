"""Curves of what the stages keep as tables: both trainings, the filters' scores and bounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lookalike.artifacts import Artifacts, Filtered
from lookalike.config import KINDS
from lookalike.data.scores import read_scores, score_names
from lookalike.report.curves import rejection_curves, score_histograms, training_curves

REID_CURVES = ("loss", "accuracy", "validation_mAP", "validation_rank_1")


def draw_overview(artifacts: Artifacts, arms: Sequence[str], folder: Path) -> None:
    """Write the curves that the artifacts allow as PNG files; what is missing has no figure.

    Args:
        artifacts: what the stages have made.
        arms: the arms of `params.yaml`, in order.
        folder: where to write.
    """
    history = artifacts.train_gan.history
    if history.is_file():
        table = pd.read_csv(history)
        panels = {str(name): {"": _points(table, name)} for name in table.columns.drop("images")}
        training_curves(panels, folder / "train_gan.png")

    paths = {arm: artifacts.train_reid(arm).history for arm in arms}
    tables = {arm: pd.read_csv(path) for arm, path in paths.items() if path.is_file()}
    panels = {
        name: {arm: _points(table, name) for arm, table in tables.items() if name in table}
        for name in REID_CURVES
    }
    if any(panels.values()):
        training_curves({k: v for k, v in panels.items() if v}, folder / "train_reid.png")

    _draw_filters(artifacts, folder)


def _points(table: pd.DataFrame, name: str) -> list[tuple[int, float]]:
    """What was measured; not every row of a history holds everything."""
    rows = table[["images", name]].dropna()
    return list(zip(rows["images"].astype(int), rows[name], strict=True))


def _draw_filters(artifacts: Artifacts, folder: Path) -> None:
    """The scores of all kinds of images; bounds come from the same real images for all."""
    kinds: dict[str, Filtered] = {kind: artifacts.filter(kind) for kind in KINDS}
    kinds = {kind: made for kind, made in kinds.items() if made.summary.is_file()}
    tables = {kind: read_scores(made.scores) for kind, made in kinds.items()}
    # A filter may judge one kind alone.
    names = list(dict.fromkeys(name for table in tables.values() for name in score_names(table)))
    if not names:
        return
    steps: dict[str, dict[str, float]] = {}
    for made in kinds.values():
        steps |= json.loads(made.summary.read_text())["steps"]
    bounds = {name: steps[name]["threshold"] for name in names}
    scores = {
        name: {kind: table[name].to_numpy() for kind, table in tables.items() if name in table}
        for name in names
    }
    score_histograms(scores, bounds, folder / "filter_scores.png")
    table = pd.concat([pd.read_csv(made.rejection) for made in kinds.values()])
    table = table.drop_duplicates(["step", "threshold"])  # the kinds share the real images
    rejection = {
        str(step): (rows["threshold"].to_numpy(), rows["rejected"].to_numpy())
        for step, rows in table.groupby("step", sort=False)
    }
    rejection_curves(rejection, bounds, folder / "filter_bounds.png")
