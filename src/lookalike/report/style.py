"""What all figures have in common: colours, lines, and the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookalike.files import replacing

# Okabe and Ito's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DPI = 110


def new_figure(
    panels: int, panel: tuple[float, float], columns: int = 3
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels of a size in inches; no global state of pyplot's."""
    assert panels > 0, "nothing to draw"
    columns = min(panels, columns)
    rows = -(-panels // columns)
    figure = Figure((panel[0] * columns, panel[1] * rows), dpi=DPI, layout="constrained")
    return figure, [figure.add_subplot(rows, columns, n + 1) for n in range(panels)]


def finish(
    figure: Figure,
    panels: Sequence[Axes],
    path: Path,
    *,
    legend: bool = False,
    grid: Literal["both", "x", "y"] = "both",
) -> None:
    """Draw the grid and, where there is something to say, each panel's legend; write the PNG."""
    for axes in panels:
        axes.grid(alpha=0.3, axis=grid)
        axes.spines[["top", "right"]].set_visible(False)
        if legend and axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", fontsize="small", frameon=False)
    with replacing(path) as partial:
        # The version of matplotlib does not belong into a file that is compared by its digest.
        figure.savefig(partial, format="png", metadata={"Software": None})
