"""What an evaluation is drawn from: pairs, activation maps, components, best matches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lookalike.config import ReidConfig
from lookalike.data.loading import Images
from lookalike.reid import pairs
from lookalike.reid.activation import activation_maps
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate
from lookalike.reid.model import new_reid
from lookalike.reid.pairs import BINS, PairSimilarities, pair_similarities
from lookalike.reid.pictures import (
    FILES,
    draw_evaluation,
    most_pictured,
    principal_components,
    top_matches_frame,
)
from lookalike.reid.trial import Trial

RNG = np.random.default_rng(0)


@pytest.fixture
def embedder(config: ReidConfig) -> Embedder:
    torch.manual_seed(0)
    return Embedder(new_reid(config, 3))


def test_pairs_leave_out_junk_and_the_own_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    query = RNG.normal(size=(5, 8)).astype(np.float32)
    gallery = RNG.normal(size=(9, 8)).astype(np.float32)
    persons = np.array(["1", "2", "1", "3", "2"]), np.array([*"112233", "-1", "0000", "1"])
    cameras = np.array([*"12121"]), np.array([*"121212121"])
    monkeypatch.setattr(pairs, "BLOCK_PAIRS", 16)  # two queries at once
    found = pair_similarities(query, gallery, Trial(*persons, *cameras))
    same = persons[0][:, None] == persons[1]
    allowed = (persons[1] != "-1") & ~(same & (cameras[0][:, None] == cameras[1]))
    units = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (query, gallery)]
    values = units[0] @ units[1].T
    for counts, mask in ((found.matching, same & allowed), (found.others, ~same & allowed)):
        np.testing.assert_array_equal(counts, np.histogram(values[mask], BINS, (-1, 1))[0])


def test_equal_error_rate_and_overlap() -> None:
    def at(*bins: int) -> np.ndarray:
        return np.bincount(bins, minlength=BINS)

    apart = PairSimilarities(at(1900, 1901), at(100, 101, 102))
    assert (apart.equal_error_rate, apart.overlap) == (0, 0)
    same = PairSimilarities(at(*range(BINS)), at(*range(BINS)))
    assert (same.equal_error_rate, same.overlap) == pytest.approx((0.5, 1))
    # One of four on the wrong side, either way.
    mixed = PairSimilarities(at(100, 1500, 1600, 1700), at(110, 200, 300, 1800))
    assert mixed.equal_error_rate == pytest.approx(0.25)
    assert mixed.overlap == pytest.approx(0.25)
    nothing = PairSimilarities(at(), at(1))
    assert np.isnan(nothing.equal_error_rate) and np.isnan(nothing.overlap)


def test_activation_map_is_of_the_deepest_layer_that_is_fine_enough(
    embedder: Embedder, crops: tuple[Images, list[str]]
) -> None:
    maps, layer = activation_maps(embedder, crops[0])
    assert (layer, maps.shape) == ("layer1", (8, 8, 4))  # of 32x16, a quarter
    assert maps.min((1, 2)).tolist() == [0] * 8 and maps.max((1, 2)).tolist() == [1] * 8
    embedder.model.height, embedder.model.width = 64, 32
    assert activation_maps(embedder, crops[0])[1] == "layer2"
    assert not embedder.model.backbone.layer1._forward_hooks
    # Loudest channels count: a bright spot in one corner is where the map is highest.
    embedder.model.height, embedder.model.width = 32, 16
    spot = np.full((1, 32, 16, 3), 110, np.uint8)
    spot[0, :8, :4] = RNG.integers(0, 256, (8, 4, 3))
    corner = activation_maps(embedder, spot)[0][0]
    assert corner[:3, :2].max() == 1


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
    files = draw_evaluation(
        test, embedder, tmp_path, lambda rows: np.stack([by_name[i] for i in rows["image_id"]])
    )
    assert files == [tmp_path / name for name in FILES]
    assert all(file.stat().st_size > 1000 for file in files)
    table = top_matches_frame(test, 10)
    assert len(table) == 3 * 8  # the gallery holds no more
    best = table.groupby("query").head(1)
    assert best["gallery"].tolist() == ["a", "b", "c"] and best["correct"].all()
