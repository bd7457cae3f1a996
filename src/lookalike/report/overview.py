"""Curves of what the stages keep as tables: the GAN's distance, the filters' scores and bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from lookalike.data.manifest import read_manifest
from lookalike.report.curves import rejection_curves, score_histograms, training_curves

STEPS = {"detector": "detector_score", "ssim": "ssim", "identity": "identity_similarity"}


def draw_overview(artifacts: Path, folder: Path) -> None:
    """Write the curves that the artifacts allow as PNG files; what is missing has no figure.

    Args:
        artifacts: the folder that the stages write to.
        folder: where to write.
    """
    history = artifacts / "train_gan" / "history.csv"
    if history.is_file():
        table = pd.read_csv(history)
        points = {
            str(name): list(zip(table["images"], table[name], strict=True))
            for name in table.columns.drop("images")
        }
        training_curves(points, folder / "train_gan.png")

    _draw_filters(artifacts / "filter", folder)


def _draw_filters(filters: Path, folder: Path) -> None:
    """The scores of all kinds of images; a kind's bounds come from the same real images."""
    kinds = [path.parent for path in sorted(filters.glob("*/summary.json"))]
    if not kinds:
        return
    steps = json.loads((kinds[0] / "summary.json").read_text())["steps"]
    bounds = {step: steps[step]["threshold"] for step in STEPS}
    manifests = {kind.name: read_manifest(kind / "manifest.parquet") for kind in kinds}
    scores = {
        step: {kind: rows[column].to_numpy() for kind, rows in manifests.items()}
        for step, column in STEPS.items()
    }
    score_histograms(scores, bounds, folder / "filter_scores.png")
    table = pd.read_csv(kinds[0] / "rejection.csv")
    rejection = {
        str(step): (rows["threshold"].to_numpy(), rows["rejected"].to_numpy())
        for step, rows in table.groupby("step", sort=False)
    }
    rejection_curves(rejection, bounds, folder / "filter_bounds.png")
