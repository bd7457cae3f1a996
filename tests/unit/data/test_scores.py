"""The filters' scores: the same bytes for the same rows, other tables refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lookalike.data.manifest import new_manifest, write_manifest
from lookalike.data.scores import read_scores, reasons, score_names, write_scores
from lookalike.errors import UserError


def test_round_trip_with_columns_that_nobody_named_here(tmp_path: Path) -> None:
    scores = pd.DataFrame(
        {
            "ssim": [0.5, 1.0],
            "image_id": ["a", "b"],
            "redness": [float("nan"), 1],
            "reason": ["ssim", ""],
        }
    )
    first, second = tmp_path / "deep" / "a.parquet", tmp_path / "b.parquet"
    write_scores(scores, first)
    read = read_scores(first)
    assert score_names(read) == ["ssim", "redness"]
    pd.testing.assert_frame_equal(read, scores[["image_id", "reason", "ssim", "redness"]])
    write_scores(read.set_index(pd.Index([5, 6])), second)
    assert first.read_bytes() == second.read_bytes()


def test_reasons_stand_in_the_order_of_the_filters() -> None:
    steps = ("realism", "identity", "ssim", "diversity")
    met = ["diversity", "duplicate", "", "ssim", "realism", "diversity", "blur"]
    scores = pd.DataFrame({"image_id": list("abcdefg"), "reason": met, **dict.fromkeys(steps, 0.5)})
    assert reasons(scores) == ["realism", "ssim", "duplicate", "diversity", "blur"]
    assert reasons(scores[scores["reason"] == ""]) == []


def test_other_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with pytest.raises(UserError, match=r"no scores at .*dvc repro"):
        read_scores(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_scores(path)
    write_manifest(new_manifest([]), path)
    with pytest.raises(UserError, match="holds no scores"):
        read_scores(path)
