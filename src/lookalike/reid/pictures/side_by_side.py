"""The same queries under two models: where the change of AP is largest, in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lookalike.artifacts import Artifacts
from lookalike.data.loading import load_images
from lookalike.errors import UserError
from lookalike.report.figures import Band, Cell, draw_sheet
from lookalike.report.rankings import ranked_row

SHOWN_QUERIES, SHOWN_MATCHES = 6, 6  # per direction, and per model


def most_changed(
    first: pd.DataFrame, second: pd.DataFrame, count: int = SHOWN_QUERIES
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The queries whose AP differs most between two models: those that gain, those that lose.

    Args:
        first, second: `per_query` tables of two evaluations.
        count: how many at most of either.

    Returns:
        Two tables, the largest change first, with `image_id`, `person_id`, `ap` and `ap_second`.
        Queries without a match, or without a change, are in neither.
    """
    table = first[["image_id", "person_id", "ap"]].merge(
        second[["image_id", "ap"]], on="image_id", suffixes=("", "_second")
    )
    change = table["ap_second"] - table["ap"]
    order = change.sort_values(kind="stable")
    losses, gains = order[order < 0].index, order[order > 0].index[::-1]
    return table.loc[gains[:count]], table.loc[losses[:count]]


def draw_side_by_side(
    artifacts: Artifacts,
    arms: tuple[str, str],
    test: tuple[pd.DataFrame, pd.DataFrame],
    root: Path,
    size: tuple[int, int],
    path: Path,
) -> None:
    """Write the best matches of the most changed queries under two arms, without a network.

    Args:
        artifacts: of `evaluate`.
        arms: whose matches stand left, and whose stand right.
        test: manifest rows of queries and gallery.
        root: what their paths are relative to.
        size: height and width of the crops.
        path: the picture.

    Raises:
        UserError: a table is missing; says which.
    """
    first, second = (_read(artifacts.evaluate(arm).per_query) for arm in arms)
    changes = most_changed(first, second)
    shown = pd.concat(changes)["image_id"]
    tables = (_read(artifacts.evaluate(arm).top_matches) for arm in arms)
    found = [
        {str(query): best.head(SHOWN_MATCHES) for query, best in table.groupby("query")}
        for table in (table[table["query"].isin(shown)] for table in tables)
    ]
    used = {
        *shown,
        *(image for lists in found for best in lists.values() for image in best["gallery"]),
    }
    rows = pd.concat(test)
    rows = rows[rows["image_id"].isin(used)]
    pixels = dict(zip(rows["image_id"], load_images(rows, root, *size), strict=True))

    def half(model: int, query: str, ap: float) -> list[Cell | None]:
        best = found[model][query]
        row = ranked_row(
            pixels[query],
            f"{arms[model]}\nAP {ap:.1%}",
            np.stack([pixels[image] for image in best["gallery"]]),
            best["correct"].to_numpy(),
            best["similarity"].to_numpy(),
        )
        return row + [None] * (1 + SHOWN_MATCHES - len(row))

    left, right = arms
    bands = [Band(f"{left} (left) | {right} (right); green = same person, red = other", [])]
    for title, changed in zip(("gains", "losses"), changes, strict=True):
        lists = [
            half(0, image, before) + half(1, image, after)
            for image, before, after in zip(
                changed["image_id"], changed["ap"], changed["ap_second"], strict=True
            )
        ]
        bands.append(Band(f"{'largest' if lists else 'no'} {title} of {right} over {left}", lists))
    draw_sheet(bands, path)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); run `dvc repro`") from error
