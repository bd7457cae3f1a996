from pathlib import Path

import pandas as pd
import pytest

from lookalike.report.figures import GREEN, RED, Band
from lookalike.report.filter_sheet import kept_and_rejected

from .sheets import contains, count, crops, frame_area, pixels


def test_reasons_stand_in_the_order_of_the_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = ["ssim", "duplicate", "", "detector"]
    scores = {"image_id": list("abcd"), "reason": met, "detector": 0.5, "ssim": 0.5}
    drawn: list[Band] = []
    monkeypatch.setattr(
        "lookalike.report.filter_sheet.draw_sheet", lambda bands, path, scale: drawn.extend(bands)
    )
    kept_and_rejected(crops(4), pd.DataFrame(scores), tmp_path / "k.png")
    assert [band.heading.split(":")[0] for band in drawn] == [
        *("kept", "rejected by detector", "rejected by ssim", "rejected by duplicate")
    ]


def test_kept_and_rejected_groups_by_reason(tmp_path: Path) -> None:
    reasons = ["", "", "", "ssim", "detector", "detector"]
    names = [f"i{n}" for n in range(6)]
    scores = pd.DataFrame({"image_id": names, "reason": reasons, "detector": 0.5})
    images = crops(6)
    kept_and_rejected(images, scores, tmp_path / "k.png", columns=1)
    sheet = pixels(tmp_path / "k.png")
    frame = frame_area(images[0])
    # Two lines of one column: two of the three kept ones, both ends of the even spread.
    assert count(sheet, GREEN) == 2 * frame
    assert count(sheet, RED) == 3 * frame
    assert contains(sheet, images[0])
    assert contains(sheet, images[2])
    assert not contains(sheet, images[1])
    with pytest.raises(ValueError, match="5 images and 6 rows"):
        kept_and_rejected(images[:5], scores, tmp_path / "k.png")
