from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookalike.artifacts import Artifacts
from lookalike.errors import UserError
from lookalike.reid.pictures.side_by_side import draw_side_by_side, most_changed
from lookalike.report.figures import BLUE, FRAME, GREEN, RED

IDS = ["a", "b", "c", "d", "e"]


def per_query(*ap: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"image_id": IDS, "person_id": IDS, "camera_id": 1, "ap": ap, "rank_1": 1.0}
    )


FIRST, SECOND = per_query(0.5, 0.5, np.nan, 0.2, 0.9), per_query(0.6, 0.1, 0.5, 0.9, 0.9)


def test_the_largest_changes_come_first_in_both_directions() -> None:
    gains, losses = most_changed(FIRST, SECOND)
    assert gains["image_id"].tolist() == ["d", "a"]  # c had no match, e did not change
    assert losses["image_id"].tolist() == ["b"]
    assert losses[["ap", "ap_second"]].to_numpy().tolist() == [[0.5, 0.1]]
    assert most_changed(FIRST, SECOND, 1)[0]["image_id"].tolist() == ["d"]


def test_both_models_lists_stand_in_one_row(tmp_path: Path) -> None:
    for number, name in enumerate([*IDS, "g", "h"]):
        Image.new("RGB", (8, 16), (9 * number, 90, 90)).save(tmp_path / f"{name}.png")
    rows = pd.DataFrame({"image_id": [*IDS, "g", "h"], "archive": ""})
    rows["member"] = rows["image_id"] + ".png"
    test, artifacts = (rows[:5], rows[5:]), Artifacts(tmp_path)
    for arm, table, right in (("one", FIRST, False), ("two", SECOND, True)):
        artifacts.evaluate(arm).folder.mkdir(parents=True)
        table.to_parquet(artifacts.evaluate(arm).per_query)
        matches = [(q, g, 0.5, right) for q in IDS for g in ("g", "h")]
        frame = pd.DataFrame(matches, columns=["query", "gallery", "similarity", "correct"])
        frame.to_parquet(artifacts.evaluate(arm).top_matches)
    draw_side_by_side(artifacts, ("one", "two"), test, tmp_path, (16, 8), tmp_path / "s.png")
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    frame_area = (16 + 2 * FRAME) * (8 + 2 * FRAME) - 16 * 8

    def places(colour: tuple[int, int, int]) -> np.ndarray:
        return np.argwhere((sheet == colour).all(2))

    # Three queries under two models: two wrong matches left, two right ones right.
    assert [len(places(c)) // frame_area for c in (BLUE, RED, GREEN)] == [6, 6, 6]
    assert places(RED)[:, 1].max() < places(GREEN)[:, 1].min()

    artifacts.evaluate("two").top_matches.unlink()
    with pytest.raises(UserError, match=r"two/top_matches.parquet .*run `dvc repro`"):
        draw_side_by_side(artifacts, ("one", "two"), test, tmp_path, (16, 8), tmp_path / "s.png")
