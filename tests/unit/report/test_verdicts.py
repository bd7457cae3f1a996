from pathlib import Path

import pytest

from lookalike.data.manifest import new_manifest
from lookalike.report.figures import GREEN, RED
from lookalike.report.verdicts import kept_and_rejected

from .sheets import contains, count, crops, frame_area, pixels


def test_kept_and_rejected_groups_by_reason(tmp_path: Path) -> None:
    reasons = ["", "", "", "ssim", "detector", "detector"]
    rows = new_manifest(
        [
            {
                "image_id": f"i{n}",
                "person_id": "syn-000001",
                "camera_id": 0,
                "split": "train",
                "origin": "person",
                "member": f"i{n}.jpg",
                "width": 64,
                "height": 128,
                "sha256": "",
                "detector_score": 0.5,
                "verdict": "rejected" if reason else "kept",
                "reason": reason,
            }
            for n, reason in enumerate(reasons)
        ]
    )
    images = crops(6)
    kept_and_rejected(images, rows, tmp_path / "k.png", columns=1)
    sheet = pixels(tmp_path / "k.png")
    frame = frame_area(images[0])
    # Two lines of one column: two of the three kept ones, both ends of the even spread.
    assert count(sheet, GREEN) == 2 * frame
    assert count(sheet, RED) == 3 * frame
    assert contains(sheet, images[0])
    assert contains(sheet, images[2])
    assert not contains(sheet, images[1])
    with pytest.raises(ValueError, match="5 images for 6"):
        kept_and_rejected(images[:5], rows, tmp_path / "k.png")
