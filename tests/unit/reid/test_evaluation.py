"""Evaluation: embeddings of both sides, ranked, with the lists that figures show."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lookalike.config import Config, ReidConfig
from lookalike.data.loading import Images, encode_jpeg
from lookalike.data.population import render_crops
from lookalike.errors import UserError
from lookalike.registry.serving_model import EmbeddingModel
from lookalike.reid import evaluation
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate, measure, measured_ranks
from lookalike.reid.gallery import embed_pictures
from lookalike.reid.model import new_reid
from lookalike.reid.ranking import Ranking


def side(images: Images, persons: list[str], camera: int) -> Side:
    return Side(pd.DataFrame({"person_id": persons, "camera_id": camera}), images)


@pytest.fixture
def embedder(config: ReidConfig) -> Embedder:
    torch.manual_seed(0)
    model = new_reid(config, 3)
    model(torch.randn(8, 3, 32, 16))  # running statistics that are not the initial ones
    return Embedder(model)


def test_the_same_picture_is_the_best_match(
    embedder: Embedder, crops: tuple[Images, list[str]]
) -> None:
    images = crops[0]
    persons = [f"{number:04d}" for number in range(8)]
    query = side(images[:3], persons[:3], camera=1)
    result = evaluate(embedder, query, side(images[::-1], persons[::-1], camera=2))
    assert result.ranking.summary()["rank_1"] == result.ranking.summary()["mAP"] == 1
    assert result.query_features.shape == (3, 32)
    np.testing.assert_allclose(result.gallery_features[::-1][:3], result.query_features, atol=1e-5)

    lists = result.lists(np.array([2, 0]), k=4)
    assert lists.indices[:, 0].tolist() == [5, 7]  # where the reversed gallery has them
    assert lists.correct.tolist() == [[True, False, False, False]] * 2

    # The labels decide, not the pictures: wrong ones make the first match a miss.
    shifted = evaluate(embedder, query, side(images, [*persons[1:], persons[0]], camera=2))
    assert shifted.ranking.summary()["rank_1"] == 0


def test_reranking_is_reported_beside_the_ranking(
    embedder: Embedder, crops: tuple[Images, list[str]]
) -> None:
    images = crops[0]
    persons = [f"{number:04d}" for number in range(7)] + ["-1"]
    query, gallery = side(images[:3], persons[:3], camera=1), side(images, persons, camera=2)
    plain = evaluate(embedder, query, gallery)
    both = evaluate(embedder, query, gallery, rerank_too=True)
    assert plain.reranked is None and both.reranked is not None
    alone, beside = plain.summary((1, 5)), both.summary((1, 5))
    assert alone == plain.ranking.summary((1, 5))
    again = {k.removesuffix("_reranked"): v for k, v in beside.items() if k not in alone}
    assert again == {k: v for k, v in both.reranked.summary((1, 5)).items() if "queries" not in k}
    assert {"rank_1_reranked", "mAP_reranked"} <= beside.keys()


def test_features_are_ranked_where_the_model_is(
    embedder: Embedder, crops: tuple[Images, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, persons = crops[0], [f"{number:04d}" for number in range(8)]
    sides = side(images[:3], persons[:3], camera=1), side(images, persons, camera=2)
    expected = evaluate(embedder, *sides)
    devices = []

    def rank(
        query: torch.Tensor, gallery: torch.Tensor, *labels: object, **part: object
    ) -> Ranking:
        devices.append((query.device, gallery.device))
        return expected.ranking

    monkeypatch.setattr(evaluation, "rank", rank)
    monkeypatch.setattr(embedder, "embed", lambda images: expected.gallery_features[: len(images)])
    monkeypatch.setattr(embedder, "device", torch.device("meta"))
    evaluate(embedder, *sides)
    assert devices == [(torch.device("meta"), torch.device("meta"))]


def test_crops_are_embedded_alike_by_evaluation_search_and_server(
    embedder: Embedder, tmp_path: Path
) -> None:
    """Stored at a size that neither the network nor the configuration has."""
    crops = render_crops(3, 2, 2, 150, 61, workers=1, progress=False)
    names = [f"{number}.jpg" for number in range(len(crops))]
    for name, crop in zip(names, crops, strict=True):
        (tmp_path / name).write_bytes(encode_jpeg(crop))
    rows = pd.DataFrame(
        {"archive": "", "member": names, "person_id": ["a", "a", "b", "b"], "camera_id": [1, 2] * 2}
    )
    config = Config()
    measured = measure(embedder, (rows, rows), tmp_path, config)
    assert measured.query.images.shape[1:3] == (embedder.model.height, embedder.model.width)
    searched, _ = embed_pictures(tmp_path, names, embedder, {})
    np.testing.assert_array_equal(searched.embeddings, measured.query_features)
    model = EmbeddingModel()
    model.embedder = embedder
    model.turn, model.decoding, model.watch = threading.Lock(), threading.Lock(), None
    served = model.predict(None, pd.DataFrame({"image": [tmp_path / name for name in names]}))
    np.testing.assert_array_equal(np.float32(served), measured.query_features)


def test_a_diverged_model_is_an_error_in_one_line(
    embedder: Embedder, crops: tuple[Images, list[str]]
) -> None:
    with torch.no_grad():
        embedder.model.embedding.weight.fill_(torch.nan)
    images, persons = crops[0], [f"{number:04d}" for number in range(8)]
    with pytest.raises(UserError, match="the model has diverged"):
        evaluate(embedder, side(images, persons, camera=1), side(images, persons, camera=2))


def test_sides_that_cannot_be_ranked(embedder: Embedder, crops: tuple[Images, list[str]]) -> None:
    images, persons = crops
    with pytest.raises(AssertionError):
        side(images, persons[:3], camera=1)
    same_camera = side(images, persons, camera=1)
    with pytest.raises(UserError, match=r"(?i)camera"):
        evaluate(embedder, same_camera, same_camera)


def test_rank_1_is_measured_whatever_is_reported() -> None:
    assert measured_ranks((10, 5)) == (1, 5, 10)
    assert measured_ranks(()) == (1,)
