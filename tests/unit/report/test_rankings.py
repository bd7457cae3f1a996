from pathlib import Path

import numpy as np
import pytest

from lookalike.report.figures import BLUE, FRAME, GAP, GREEN, RED
from lookalike.report.rankings import heat_maps, ranked_lists

from .sheets import contains, count, crops, frame_area, pixels


def test_ranked_lists_frames_right_and_wrong_matches(tmp_path: Path) -> None:
    queries, matches = crops(2), crops(2, 3, seed=1)
    correct = np.array([[True, False, True], [False, False, False]])
    scores = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, np.nan]], dtype=np.float32)
    ranked_lists(queries, matches, correct, scores, tmp_path / "ranked.png")
    sheet = pixels(tmp_path / "ranked.png")
    frame = frame_area(queries[0])
    assert (count(sheet, BLUE), count(sheet, GREEN), count(sheet, RED)) == (
        2 * frame,
        2 * frame,
        3 * frame,
    )
    assert contains(sheet, matches[1, 1])
    assert not contains(sheet, matches[1, 2])  # NaN: the gallery had no third image


def test_ranked_lists_refuses_shapes_that_differ(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        ranked_lists(
            crops(2), crops(2, 3), np.ones((2, 4), bool), np.ones((2, 3)), tmp_path / "r.png"
        )


def test_heat_maps_stand_beside_their_crops_and_are_bright_where_the_map_is(
    tmp_path: Path,
) -> None:
    image, heat = np.zeros((1, 128, 64, 3), np.uint8), np.zeros((1, 4, 2), np.float32)
    heat[0, 0] = 1  # the top
    heat_maps(image, heat, tmp_path / "h.png", of="attention")
    sheet = pixels(tmp_path / "h.png")[-128 - FRAME - GAP :]
    right = sheet[:128, 2 * (GAP + FRAME) + 64 + FRAME :][:, :64]
    assert right[:16].mean() > 100 > 20 > right[-16:].mean()
