"""A sheet of what the filters kept and rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lookalike.data.loading import Images
from lookalike.data.scores import reasons, score_names
from lookalike.report.figures import GREEN, RED, Band, Cell, draw_sheet, wrap
from lookalike.spread import spread


def kept_and_rejected(
    images: Images, scores: pd.DataFrame, path: Path, *, columns: int = 12, scale: int = 1
) -> None:
    """Write what the filters kept and, reason by reason, what they rejected, with the scores.

    At most two lines of crops per group, taken at even distances; headings give the full counts.

    Args:
        images: uint8 [N, H, W, 3].
        scores: what the filters found of these N images, in the same order; see `data.scores`.
    """
    if len(images) != len(scores):
        raise ValueError(f"{path.name}: {len(images)} images and {len(scores)} rows of scores")
    reason = scores["reason"].to_numpy()
    groups = [("kept", reason == "", GREEN)]
    groups += [(f"rejected by {step}", reason == step, RED) for step in reasons(scores)]
    names, bands = score_names(scores), []
    for title, mask, colour in groups:
        members = np.flatnonzero(mask)
        shown = members[spread(len(members), 2 * columns)]
        cells = [Cell(images[i], _caption(scores.iloc[i], names), colour) for i in shown]
        bands.append(Band(f"{title}: {len(members)} of {len(scores)}", wrap(cells, columns)))
    draw_sheet(bands, path, scale)


def _caption(row: pd.Series, names: list[str]) -> str:
    """The scores that an image has, one per line."""
    return "\n".join(f"{name} {row[name]:.2f}" for name in names if pd.notna(row[name]))
