"""What an evaluation is drawn from: components, persons with most images, best matches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lookalike.artifacts import Evaluated
from lookalike.data.loading import Images
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate
from lookalike.reid.pictures.evaluation import (
    draw_evaluation,
    most_pictured,
    principal_components,
    top_matches_frame,
)

RNG = np.random.default_rng(0)


def test_components_are_those_of_the_largest_variance_with_a_fixed_sign() -> None:
    features = (RNG.normal(size=(50, 4)) * [1, 9, 0.1, 3]).astype(np.float32)
    points, shares = principal_components(features)
    again, _ = principal_components(-features)
    np.testing.assert_allclose(points, -again, atol=1e-6)  # the axes are the same
    np.testing.assert_allclose(
        np.square(points).sum(0) / np.square(features - features.mean(0)).sum(), shares, rtol=1e-5
    )
    assert abs(np.corrcoef(points[:, 0], features[:, 1])[0, 1]) > 0.99
    assert shares[0] > 0.8 > shares[1] > 0.05


def test_persons_with_most_images() -> None:
    rows = pd.DataFrame({"person_id": [*"3332211", "-1", "-1", "-1", "-1"]})
    assert most_pictured(rows, {"1", "2", "3"}, 2) == ["3", "1"]


def test_an_evaluation_is_drawn_and_its_matches_are_kept(
    embedder: Embedder, crops: tuple[Images, list[str]], tmp_path: Path
) -> None:
    images, persons = crops
    rows = pd.DataFrame({"image_id": [*"abcdefgh"], "person_id": persons, "camera_id": 1})
    test = evaluate(embedder, Side(rows[:3], images[:3]), Side(rows.assign(camera_id=2), images))
    by_name = dict(zip("abcdefgh", images, strict=True))
    shown: list[list[str]] = []

    def pixels(rows: pd.DataFrame) -> Images:
        shown.append(rows["image_id"].tolist())
        return np.stack([by_name[name] for name in shown[-1]])

    files = draw_evaluation(test, embedder, Evaluated(tmp_path), pixels)
    assert shown[0] == ["a", "b", "c"], "no query twice"
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert len(files) == 4 and all(file.stat().st_size > 1000 for file in files)
    table = top_matches_frame(test, 10)
    assert len(table) == 3 * 8  # the gallery holds no more
    best = table.groupby("query").head(1)
    assert best["gallery"].tolist() == ["a", "b", "c"] and best["correct"].all()
