"""Curves and histograms as PNG files, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

Values = npt.NDArray[np.floating]

DPI = 110
PANEL = (4.6, 3.0)  # inches


def cmc_curves(curves: Mapping[str, Values], path: Path, *, max_rank: int = 20) -> None:
    """Write the cumulative matching characteristic of every arm.

    Args:
        curves: arm -> the fraction of queries with a match among the first k, for k = 1, 2, ...
        max_rank: the last rank that is drawn.
    """
    figure, (axes,) = _figure(1)
    for arm, curve in curves.items():
        shown = curve[:max_rank]
        axes.plot(np.arange(1, len(shown) + 1), shown, marker="o", markersize=3, label=arm)
    axes.set(xlabel="rank", ylabel="queries with a match")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _finish(figure, [axes], path, legend=True)


def training_curves(curves: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """Write one panel per metric over the images seen.

    Args:
        curves: metric -> points (images seen, value).
    """
    figure, panels = _figure(len(curves))
    for axes, (name, points) in zip(panels, curves.items(), strict=True):
        steps, values = zip(*sorted(points), strict=True) if points else ((), ())
        axes.plot(steps, values, marker="o" if len(points) < 40 else None, markersize=3)
        axes.set(xlabel="images seen", title=name)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _finish(figure, panels, path)


def score_histograms(
    scores: Mapping[str, Mapping[str, Values]], bounds: Mapping[str, float], path: Path
) -> None:
    """Write one panel per filter step: how its score is distributed, and where the bound lies.

    Args:
        scores: step -> label (say "persons") -> scores; those that are not finite are left out.
        bounds: step -> the score below which an image is rejected.
    """
    figure, panels = _figure(len(scores))
    for axes, (step, sets) in zip(panels, scores.items(), strict=True):
        finite = {label: values[np.isfinite(values)] for label, values in sets.items()}
        everything = np.concatenate([*finite.values(), np.array([bounds[step]])])
        bins = np.linspace(everything.min(), everything.max() + 1e-9, 41).tolist()
        for label, values in finite.items():
            shares = np.full(len(values), 1 / max(len(values), 1))
            axes.hist(values, bins, weights=shares, alpha=0.5, label=f"{label} ({len(values)})")
        _bound(axes, bounds[step])
        axes.set(xlabel=f"{step} score", ylabel="share of images")
    _finish(figure, panels, path, legend=True)


def rejection_curves(
    curves: Mapping[str, tuple[Values, Values]], bounds: Mapping[str, float], path: Path
) -> None:
    """Write one panel per filter step: which share of the real images a bound would reject.

    Args:
        curves: step -> bounds (rising) and the fraction rejected by each.
        bounds: step -> the bound in use.
    """
    figure, panels = _figure(len(curves))
    for axes, (step, (thresholds, rejected)) in zip(panels, curves.items(), strict=True):
        axes.plot(thresholds, rejected, label="real images")
        _bound(axes, bounds[step])
        axes.set(xlabel=f"bound on the {step} score", ylabel="rejected")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _finish(figure, panels, path, legend=True)


def _bound(axes: Axes, value: float) -> None:
    axes.axvline(value, color="black", linestyle="--", label=f"bound {value:.3g}")


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels, three to a row; no global state of pyplot's."""
    assert panels > 0, "nothing to draw"
    columns = min(panels, 3)
    rows = math.ceil(panels / columns)
    figure = Figure((PANEL[0] * columns, PANEL[1] * rows), dpi=DPI, layout="constrained")
    return figure, [figure.add_subplot(rows, columns, n + 1) for n in range(panels)]


def _finish(figure: Figure, panels: Sequence[Axes], path: Path, legend: bool = False) -> None:
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if legend:
            axes.legend(loc="best", fontsize="small", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The version of matplotlib does not belong into a file that is compared by its digest.
    figure.savefig(path, format="png", metadata={"Software": None})
