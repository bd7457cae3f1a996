"""Sheets of an evaluation: lists of best matches, and where the network looked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from lookalike.data.loading import Images
from lookalike.report.figures import BLUE, GREEN, RED, Band, Cell, draw_sheet, wrap


def ranked_lists(
    queries: Images,
    matches: npt.NDArray[np.uint8],
    correct: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    path: Path,
    *,
    captions: Sequence[str] | None = None,
    scale: int = 1,
) -> None:
    """Write each query (blue) and its best gallery matches, right ones green, wrong ones red.

    Args:
        queries: uint8 [Q, H, W, 3].
        matches: uint8 [Q, K, H, W, 3], best first.
        correct: [Q, K], whether match and query are the same person.
        scores: [Q, K], cosine similarities, written below the matches; NaN where the gallery held
            fewer than K images for a query, and nothing is drawn.
        captions: one per query.
    """
    if not matches.shape[:2] == correct.shape == scores.shape or len(queries) != len(matches):
        raise ValueError(
            f"{path.name}: {len(queries)} queries, matches {matches.shape[:2]}, correct "
            f"{correct.shape} and scores {scores.shape} do not fit together"
        )
    rows = [
        ranked_row(query, captions[q] if captions else "query", matches[q], correct[q], scores[q])
        for q, query in enumerate(queries)
    ]
    draw_sheet([Band("query | best matches: green = same person, red = other", rows)], path, scale)


def ranked_row(
    query: npt.NDArray[np.uint8],
    caption: str,
    matches: Images,
    correct: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
) -> list[Cell | None]:
    """A query (blue) and its matches, best first: right ones green, wrong ones red.

    Args:
        query: uint8 [H, W, 3].
        caption: stands below the query.
        matches: uint8 [K, H, W, 3].
        correct: [K].
        scores: [K], written below the matches; a slot with NaN stays empty.
    """
    row: list[Cell | None] = [Cell(query, caption, BLUE)]
    for image, right, score in zip(matches, correct, scores, strict=True):
        cell = Cell(image, f"{score:.3f}", GREEN if right else RED)
        row.append(None if np.isnan(score) else cell)
    return row


def heat_maps(
    images: Images, maps: npt.NDArray[np.float32], path: Path, *, of: str, columns: int = 6
) -> None:
    """Write each crop beside itself in grey under its map, bright where the map is high.

    Args:
        images: uint8 [N, H, W, 3].
        maps: [N, h, w] in 0..1; enlarged bilinearly.
        of: what the maps show, for the heading.
        columns: pairs in a row.
    """
    colours = colormaps["inferno"]
    cells = []
    for image, heat in zip(images, maps, strict=True):
        grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float64)[:, :, None]
        size = (image.shape[1], image.shape[0])
        large = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
        mixed = 0.4 * grey + 0.6 * 255 * colours(large)[:, :, :3]
        cells += [Cell(image), Cell(mixed.round().astype(np.uint8))]
    heading = f"crop | {of}: bright = strong, each crop by itself"
    draw_sheet([Band(heading, wrap(cells, 2 * columns))], path)
