"""A sheet of what the filters kept and rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lookalike.data.loading import Images
from lookalike.report.figures import GREEN, RED, Band, Cell, draw_sheet, wrap


def kept_and_rejected(
    images: Images, rows: pd.DataFrame, path: Path, *, columns: int = 12, scale: int = 1
) -> None:
    """Write what the filters kept and, reason by reason, what they rejected, with the scores.

    At most two lines of crops per group, taken at even distances; headings give the full counts.

    Args:
        images: uint8 [N, H, W, 3].
        rows: the N filtered manifest rows of these images, in the same order.
    """
    if len(images) != len(rows):
        raise ValueError(f"{path.name}: {len(images)} images for {len(rows)} manifest rows")
    kept = (rows["verdict"] == "kept").to_numpy()
    groups = [("kept", kept, GREEN)]
    for reason in sorted(set(rows.loc[~kept, "reason"])):
        groups.append((f"rejected by {reason}", (rows["reason"] == reason).to_numpy(), RED))
    bands = []
    for title, mask, colour in groups:
        members = np.flatnonzero(mask)
        shown = members[_spread(len(members), 2 * columns)]
        cells = [Cell(images[i], _scores(rows.iloc[i]), colour) for i in shown]
        bands.append(Band(f"{title}: {len(members)} of {len(rows)}", wrap(cells, columns)))
    draw_sheet(bands, path, scale)


def _spread(size: int, count: int) -> npt.NDArray[np.int64]:
    """At most `count` indices of 0..size-1, evenly spread, without repetition."""
    return np.unique(np.linspace(0, size - 1, min(size, count)).round().astype(np.int64))


def _scores(row: pd.Series) -> str:
    """The scores of a filtered manifest row that were measured, one per line."""
    names = {"detector_score": "detector", "ssim": "SSIM", "identity_similarity": "identity"}
    return "\n".join(f"{name} {row[key]:.2f}" for key, name in names.items() if pd.notna(row[key]))
