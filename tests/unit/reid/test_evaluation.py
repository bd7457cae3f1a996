"""Evaluation: embeddings of both sides, ranked, with the lists that figures show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from lookalike.config import ReidConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate
from lookalike.reid.model import new_reid


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
