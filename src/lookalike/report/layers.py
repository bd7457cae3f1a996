"""The figure of what each layer's styles change: the person, and the pixels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00")  # Okabe and Ito's
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
    figure = Figure((9.0, 5.6), dpi=110, layout="constrained")
    for place, ((measure, label), colour) in enumerate(zip(PANELS.items(), COLOURS, strict=True)):
        axes = figure.add_subplot(2, 1, place + 1)
        axes.bar(shown["styles"], shown[measure], color=colour)
        axes.axhline(other[measure], color="black", linestyle="--", label="all: another person")
        axes.set(xlabel="styles taken from another person", ylabel=label)
        axes.grid(alpha=0.3, axis="y")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="best", fontsize="small", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The version of matplotlib does not belong into a file that is compared by its digest.
    figure.savefig(path, format="png", metadata={"Software": None})
