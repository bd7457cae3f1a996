"""Re-ranking against recorded results of an established implementation, and by the paper's sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.errors import UserError
from lookalike.reid import reranking
from lookalike.reid.ranking import rank_distances
from lookalike.reid.reranking import rerank

GOLDEN = Path(__file__).parents[2] / "golden" / "ranking_a.npz"
seeds = st.integers(0, 2**32 - 1)


def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        found = dict(file)
    kept = found["gallery_pids"] != -1
    for name in ("gallery_features", "gallery_pids", "gallery_camids"):
        found[name] = found[name][kept]
    return found


def by_the_sets(
    query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, share: float
) -> np.ndarray:
    """The paper's definitions (sections 3.2 to 3.5), set by set and pair by pair."""
    both = np.concatenate([query, gallery]).astype(np.float64)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    distances = np.maximum(2 - 2 * both @ both.T, 0)
    relative = (distances / distances.max(axis=1, keepdims=True)) ** 2
    order = np.argsort(relative, axis=1, kind="stable")
    count = len(both)

    def mutual(image: int, k: int) -> set[int]:
        return {int(j) for j in order[image, : k + 1] if image in order[j, : k + 1]}

    weights = np.zeros((count, count))
    for image in range(count):
        near = mutual(image, k1)
        members = set(near)
        for other in near:
            theirs = mutual(other, round(k1 / 2))
            if len(theirs & near) > 2 / 3 * len(theirs):
                members |= theirs
        chosen = sorted(members)
        weights[image, chosen] = np.exp(-relative[image, chosen])
    weights /= weights.sum(axis=1, keepdims=True)
    if k2 > 1:
        weights = np.stack([weights[order[i, :k2]].mean(axis=0) for i in range(count)])
    queries = len(query)
    minima = np.minimum(weights[:queries, None], weights[None, queries:]).sum(axis=2)
    maxima = np.maximum(weights[:queries, None], weights[None, queries:]).sum(axis=2)
    return (1 - share) * (1 - minima / maxima) + share * relative[:queries, queries:]


def features(seed: int, count: int, dim: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def test_equals_the_golden_distances_and_their_ranking() -> None:
    g = golden()
    distances = rerank(g["query_features"], g["gallery_features"])
    assert distances.dtype == np.float32
    np.testing.assert_allclose(distances, g["reranked_distances"], rtol=0, atol=1e-6)
    labels = (g["query_pids"], g["gallery_pids"], g["query_camids"], g["gallery_camids"])
    ranking = rank_distances(distances, *labels)
    assert ranking.summary()["mAP"] == pytest.approx(float(g["rerank_mAP_standard"]), abs=1e-6)
    np.testing.assert_allclose(ranking.cmc, g["rerank_cmc_top50"], atol=1e-6)


@given(
    seeds, st.sampled_from([(20, 6, 0.3), (6, 3, 0.0), (5, 1, 1.0), (200, 6, 0.3), (9, 90, 0.5)])
)
@settings(max_examples=12, deadline=None)
def test_sparse_products_are_the_papers_sets(seed: int, settings_: tuple[int, int, float]) -> None:
    query, gallery = features(seed, 5), features(seed + 1, 60)
    k1, k2, share = settings_
    expected = by_the_sets(query, gallery, k1, k2, share)
    np.testing.assert_allclose(rerank(query, gallery, k1, k2, share), expected, atol=2e-6)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_order_and_length_do_not_matter(seed: int) -> None:
    query, gallery = features(seed, 7), features(seed + 1, 80)
    rng = np.random.default_rng(seed)
    order, scale = rng.permutation(80), rng.uniform(0.5, 2, (80, 1)).astype(np.float32)
    plain = rerank(query, gallery)
    moved = rerank(3 * query, (scale * gallery)[order])
    np.testing.assert_allclose(moved, plain[:, order], atol=2e-6)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    g = golden()
    whole = rerank(g["query_features"], g["gallery_features"])
    monkeypatch.setattr(reranking, "BLOCK_ROWS", 7)
    monkeypatch.setattr(reranking, "PAIRS", 10)
    parts = rerank(g["query_features"], g["gallery_features"])
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_few_or_equal_images() -> None:
    one = rerank(features(0, 1), features(1, 1))
    assert one.shape == (1, 1) and 0 <= one[0, 0] <= 1
    equal = rerank(np.ones((2, 4)), np.ones((30, 4)))
    assert np.isfinite(equal).all()
    with pytest.raises(UserError, match="gallery: features hold NaN"):
        rerank(features(0, 2), np.full((3, 12), np.nan, dtype=np.float32))


@pytest.mark.parametrize(("k1", "k2"), [(0, 6), (-3, 6), (20, 0)])
def test_a_neighbourhood_without_neighbours_is_refused(k1: int, k2: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rerank(features(0, 3), features(1, 30), k1, k2)
