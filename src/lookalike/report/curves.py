"""Curves, histograms and maps of points as PNG files, the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lookalike.report.order import natural
from lookalike.report.style import COLOURS, finish, new_figure

Values = npt.NDArray[np.floating]
Counts = npt.NDArray[np.int64]

MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # as many as colours: cameras differ in both

PANEL = (4.6, 3.0)  # inches
WIDE_PANEL = (7.0, 3.6)
MAP_PANEL = (5.2, 4.6)


def cmc_curves(curves: Mapping[str, Values], path: Path, *, max_rank: int = 20) -> None:
    """Write the cumulative matching characteristic of every arm.

    Args:
        curves: arm -> the fraction of queries with a match among the first k, for k = 1, 2, ...
        max_rank: the last rank that is drawn.
    """
    figure, (axes,) = new_figure(1, PANEL)
    for arm, curve in curves.items():
        shown = curve[:max_rank]
        axes.plot(np.arange(1, len(shown) + 1), shown, marker="o", markersize=3, label=arm)
    axes.set(xlabel="rank", ylabel="queries with a match")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    finish(figure, [axes], path, legend=True)


def training_curves(
    panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], path: Path
) -> None:
    """Write one panel per metric over the images seen.

    Args:
        panels: metric -> curve (say an arm; "" for the only one) -> points (images seen, value).
    """
    figure, drawn = new_figure(len(panels), PANEL, columns=2 if len(panels) == 4 else 3)
    for axes, (name, curves) in zip(drawn, panels.items(), strict=True):
        for number, (label, points) in enumerate(curves.items()):
            steps, values = zip(*sorted(points), strict=True) if points else ((), ())
            axes.plot(
                steps,
                values,
                color=COLOURS[number % len(COLOURS)],
                linestyle=("-", "--", "-.", ":")[number % 4],
                marker="o" if len(points) < 40 else None,
                markersize=3,
                label=label or None,
            )
        axes.set(xlabel="images seen", title=name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    finish(figure, drawn, path, legend=any(any(curves) for curves in panels.values()))


def score_histograms(
    scores: Mapping[str, Mapping[str, Values]], bounds: Mapping[str, float], path: Path
) -> None:
    """Write one panel per filter step: how its score is distributed, and where the bound lies.

    Args:
        scores: step -> label (say "persons") -> scores; those that are not finite are left out.
        bounds: step -> the score below which an image is rejected.
    """
    figure, panels = new_figure(len(scores), PANEL)
    for axes, (step, sets) in zip(panels, scores.items(), strict=True):
        finite = {label: values[np.isfinite(values)] for label, values in sets.items()}
        everything = np.concatenate([*finite.values(), np.array([bounds[step]])])
        bins = np.linspace(everything.min(), everything.max() + 1e-9, 41).tolist()
        for label, values in finite.items():
            shares = np.full(len(values), 1 / max(len(values), 1))
            axes.hist(values, bins, weights=shares, alpha=0.5, label=f"{label} ({len(values)})")
        _bound(axes, bounds[step])
        axes.set(xlabel=f"{step} score", ylabel="share of images")
    finish(figure, panels, path, legend=True)


def rejection_curves(
    curves: Mapping[str, tuple[Values, Values]], bounds: Mapping[str, float], path: Path
) -> None:
    """Write one panel per filter step: which share of the real images a bound would reject.

    Args:
        curves: step -> bounds (rising) and the fraction rejected by each.
        bounds: step -> the bound in use.
    """
    figure, panels = new_figure(len(curves), PANEL)
    for axes, (step, (thresholds, rejected)) in zip(panels, curves.items(), strict=True):
        axes.plot(thresholds, rejected, label="real images")
        _bound(axes, bounds[step])
        axes.set(xlabel=f"bound on the {step} score", ylabel="rejected")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    finish(figure, panels, path, legend=True)


def similarity_histogram(
    matching: Counts, others: Counts, path: Path, *, overlap: float, equal_error_rate: float
) -> None:
    """Write how similar pairs of one person and pairs of two persons are.

    Args:
        matching, others: int [N], pairs per bin; the bins divide -1..1 evenly.
        overlap, equal_error_rate: for the title, fractions of 1.
    """
    figure, (axes,) = new_figure(1, WIDE_PANEL)
    edges = np.linspace(-1, 1, len(matching) + 1)
    for counts, label, colour, hatch in (
        (others, "other persons", COLOURS[1], ""),
        (matching, "same person", COLOURS[0], "///"),
    ):
        total = max(int(counts.sum()), 1)
        axes.stairs(
            counts / total,
            edges,
            fill=True,
            alpha=0.5,
            color=colour,
            hatch=hatch,
            label=f"{label} ({counts.sum():,} pairs)",
        )
    filled = np.flatnonzero(matching + others)
    if len(filled):
        axes.set_xlim(edges[filled[0]], edges[filled[-1] + 1])
    axes.set(xlabel="cosine similarity of query and gallery image", ylabel="share of pairs")
    axes.set_title(f"overlap {overlap:.1%}, equal error rate {equal_error_rate:.1%}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    finish(figure, [axes], path, legend=True)


def embedding_map(
    points: npt.NDArray[np.floating],
    persons: Sequence[str],
    cameras: Sequence[str],
    path: Path,
    *,
    shares: tuple[float, float],
) -> None:
    """Write the same points twice: by person, with spokes from each one's mean, and by camera.

    The shape of a point is its camera's in both.

    Args:
        points: [N, 2], principal components.
        persons, cameras: N labels.
        shares: of the variance that each component explains, fractions of 1.
    """
    figure, (left, right) = new_figure(2, MAP_PANEL)
    names, ids = np.asarray(persons), np.asarray(cameras)
    everyone, numbers = np.unique(names, return_inverse=True)
    shades = colormaps["tab20"](numbers % 20)
    means = np.stack([points[numbers == n].mean(0) for n in range(len(everyone))])
    spokes = np.stack([means[numbers], points], axis=1)
    left.add_collection(LineCollection(list(spokes), colors=shades, linewidths=0.6, zorder=1))
    for camera, colour, marker in _cameras(ids):
        own = ids == camera
        x, y = points[own].T
        left.scatter(x, y, 16, color=shades[own], marker=marker, linewidths=0, zorder=2)
        label = f"camera {camera}"
        right.scatter(x, y, 16, color=colour, marker=marker, linewidths=0, label=label)
    left.set_title(f"{len(everyone)} persons, each of one colour")
    right.set_title("the same images by camera")
    for axes in (left, right):
        axes.set(
            xlabel=f"component 1 ({shares[0]:.0%} of the variance)",
            ylabel=f"component 2 ({shares[1]:.0%})",
        )
    # Beside the points: inside it would hide some.
    figure.legend(loc="outside right center", fontsize="small", frameon=False)
    finish(figure, [left, right], path)


def _cameras(ids: npt.NDArray[np.str_]) -> Iterator[tuple[str, str, str]]:
    """Each camera with its colour and shape; shapes shift where colours begin again."""
    for number, camera in enumerate(sorted(set(ids.tolist()), key=natural)):
        turn, place = divmod(number, len(COLOURS))
        yield camera, COLOURS[place], MARKERS[(place + turn) % len(MARKERS)]


def _bound(axes: Axes, value: float) -> None:
    axes.axvline(value, color="black", linestyle="--", label=f"bound {value:.3g}")
