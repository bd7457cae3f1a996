"""The figure of what each layer's styles change: the person, and the pixels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lookalike.report.style import COLOURS, finish, new_figure

PANELS = {
    "identity": "cosine to the person before",
    "pixels": "mean change of a pixel (of 255)",
}


def draw_layers(effects: pd.DataFrame, path: Path) -> None:
    """Write bars of both measures for all styles; the last row's, another person, dashed.

    Args:
        effects: see `synthesis.layers.measure_layers`.
        path: `.png`.
    """
    shown, other = effects.iloc[:-1], effects.iloc[-1]
    figure, panels = new_figure(len(PANELS), (9.0, 2.8), columns=1)
    for axes, (measure, label), colour in zip(panels, PANELS.items(), COLOURS, strict=False):
        axes.bar(shown["styles"], shown[measure], color=colour)
        axes.axhline(other[measure], color="black", linestyle="--", label="all: another person")
        axes.set(xlabel="styles taken from another person", ylabel=label)
    finish(figure, panels, path, legend=True, grid="y")
