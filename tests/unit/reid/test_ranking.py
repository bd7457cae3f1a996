"""Ranking against recorded results of established implementations, and its invariants."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.data.loading import Images
from lookalike.device import one_thread_each
from lookalike.errors import UserError
from lookalike.reid import ranking, similarities
from lookalike.reid.evaluation import Evaluation, Side, evaluate
from lookalike.reid.ranking import Ranking, join, rank, rank_distances, top_matches
from lookalike.reid.similarities import Cosines
from lookalike.reid.trial import Trial

GOLDEN = Path(__file__).parents[2] / "golden" / "ranking_a.npz"
seeds = st.integers(0, 2**32 - 1)


def trial(seed: int, dim: int = 16) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    queries, gallery = int(rng.integers(1, 12)), int(rng.integers(20, 80))
    return {
        "query": rng.normal(size=(queries, dim)).astype(np.float32),
        "gallery": rng.normal(size=(gallery, dim)).astype(np.float32),
        # The first query and the first gallery image are a valid pair.
        "query_persons": np.r_[0, rng.integers(0, 6, queries - 1)],
        "gallery_persons": np.r_[0, rng.integers(-1, 5, gallery - 1)],
        "query_cameras": np.r_[0, rng.integers(0, 3, queries - 1)],
        "gallery_cameras": np.r_[1, rng.integers(0, 3, gallery - 1)],
    }


def sorted_reference(t: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The textbook way: sort the whole gallery for each query, then walk down the list."""
    sides = {k: t[k].astype(np.float64) for k in ("query", "gallery")}
    unit = {k: v / np.linalg.norm(v, axis=1, keepdims=True) for k, v in sides.items()}
    similarity = unit["query"] @ unit["gallery"].T
    out = {k: np.full(len(similarity), np.nan) for k in ("ap", "ap_trapezoidal", "inp", "first")}
    for q in range(len(similarity)):
        hits, seen, precisions, trapezoids, old = 0, 0, [], [], 1.0
        for g in np.argsort(-similarity[q], kind="stable"):
            same = t["gallery_persons"][g] == t["query_persons"][q]
            camera = t["gallery_cameras"][g] == t["query_cameras"][q]
            if t["gallery_persons"][g] == -1 or (same and camera):
                continue
            seen += 1
            hits += same
            if same:
                precisions.append(hits / seen)
                trapezoids.append((hits / seen + old) / 2)
                out["inp"][q] = hits / seen
                out["first"][q] = np.nanmin([out["first"][q], seen])
            old = hits / seen
        if precisions:
            out["ap"][q], out["ap_trapezoidal"][q] = np.mean(precisions), np.mean(trapezoids)
    return out


def assert_same(a: Ranking, b: Ranking) -> None:
    for name in ("ap", "ap_trapezoidal", "inp", "first_match_rank"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def golden_trial() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    with np.load(GOLDEN) as file:
        golden = dict(file)
    names = {
        "query": "query_features",
        "gallery": "gallery_features",
        "query_persons": "query_pids",
        "gallery_persons": "gallery_pids",
        "query_cameras": "query_camids",
        "gallery_cameras": "gallery_camids",
    }
    return {ours: golden[theirs] for ours, theirs in names.items()}, golden


def test_equals_the_golden_numbers() -> None:
    arguments, golden = golden_trial()
    result = rank(**arguments)
    valid = golden["valid_query"]
    np.testing.assert_array_equal(result.valid, valid)
    # The reference accumulates the curve in float32.
    np.testing.assert_allclose(result.cmc, golden["cmc_top50"], atol=1e-6)
    close = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(result.ap[valid], golden["ap_standard_per_valid_query"], **close)
    np.testing.assert_allclose(result.inp[valid], golden["inp_per_valid_query"], **close)
    np.testing.assert_allclose(
        np.nan_to_num(result.ap_trapezoidal), golden["ap_trapezoidal_per_query"], rtol=0, atol=1e-8
    )
    summary = result.summary()
    assert summary["mAP"] == pytest.approx(float(golden["mAP_standard"]), abs=1e-12)
    assert summary["mINP"] == pytest.approx(float(golden["mINP"]), abs=1e-12)
    over_valid = float(golden["mAP_trapezoidal_over_valid"])
    assert summary["mAP_trapezoidal"] == pytest.approx(over_valid, abs=1e-8)
    over_all = np.nan_to_num(result.ap_trapezoidal).mean()
    assert over_all == pytest.approx(float(golden["mAP_trapezoidal_over_all"]), abs=1e-8)
    assert summary["rank_5"] == pytest.approx(golden["cmc_top50"][4], abs=1e-6)
    assert (summary["queries"], summary["invalid_queries"]) == (90, 4)
    assert "4 of 90 queries have no match" in result.problem
    assert "no gallery image" in result.problem


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_counting_equals_sorting_with_many_ties(seed: int) -> None:
    arguments = trial(seed)
    # Entries of +-1/4 in 16 dimensions make unit vectors with exact products; where only four of
    # the signs vary there are five different products: ties everywhere.
    for name in ("query", "gallery"):
        signs = np.sign(arguments[name]) / 4
        signs[:, 4:] = 0.25
        arguments[name] = signs.astype(np.float32)
    expected, result = sorted_reference(arguments), rank(**arguments)
    np.testing.assert_allclose(result.ap, expected["ap"], atol=1e-12)
    np.testing.assert_allclose(result.ap_trapezoidal, expected["ap_trapezoidal"], atol=1e-12)
    np.testing.assert_allclose(result.inp, expected["inp"], atol=1e-12)
    np.testing.assert_array_equal(result.first_match_rank, np.nan_to_num(expected["first"], nan=-1))


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_order_of_the_gallery_does_not_matter(seed: int) -> None:
    arguments = trial(seed)
    order = np.random.default_rng(seed).permutation(len(arguments["gallery"]))
    shuffled = {k: v[order] if k.startswith("gallery") else v for k, v in arguments.items()}
    assert_same(rank(**arguments), rank(**shuffled))


class Pixels:
    """An embedder whose features are the pixels."""

    batch_size, device = 64, torch.device("cpu")

    def embed(self, images: Images) -> np.ndarray:
        """See Embedder."""
        return images.reshape(len(images), -1).astype(np.float32) - 127.5


def evaluated(t: dict[str, np.ndarray], ids: type) -> Evaluation:
    """`evaluate`, re-ranking too, of whole numbers from 0 to 255 as features; `ids` of persons."""
    sides = [
        Side(
            pd.DataFrame(
                {
                    "person_id": t[f"{name}_persons"].astype(ids),
                    "camera_id": t[f"{name}_cameras"],
                }
            ),
            t[name].reshape(-1, 2, 4, 3),
        )
        for name in ("query", "gallery")
    ]
    return evaluate(Pixels(), *sides, rerank_too=True)  # type: ignore[arg-type]


def pictures(seed: int) -> dict[str, np.ndarray]:
    arguments, rng = trial(seed, dim=24), np.random.default_rng(seed)
    for name in ("query", "gallery"):
        arguments[name] = rng.integers(0, 256, arguments[name].shape, dtype=np.uint8)
    return arguments


# The same examples each time: of some seeds, rounding in re-ranking breaks a tie by the order.
@given(seeds, st.sampled_from([str, int, float]))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_order_and_junk_do_not_matter_to_the_evaluation_either(seed: int, ids: type) -> None:
    arguments, rng = pictures(seed), np.random.default_rng(seed)
    before = evaluated(arguments, str)
    order = rng.permutation(len(arguments["gallery"]))
    shuffled = {k: v[order] if k.startswith("gallery") else v for k, v in arguments.items()}
    with_junk = extended(
        arguments,
        gallery=np.concatenate([arguments["query"], arguments["gallery"][:9]]),
        gallery_persons=np.full(len(arguments["query"]) + 9, -1),
        gallery_cameras=rng.integers(0, 3, len(arguments["query"]) + 9),
    )
    for changed in (shuffled, with_junk):
        after = evaluated(changed, ids)
        assert before.reranked is not None and after.reranked is not None
        assert_same(before.ranking, after.ranking)
        assert_same(before.reranked, after.reranked)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_copies_from_the_querys_own_camera_change_nothing(seed: int) -> None:
    arguments = {k: v[:1] if k.startswith("query") else v for k, v in trial(seed).items()}
    arguments["gallery_persons"][1:4] = arguments["query_persons"]
    arguments["gallery_cameras"][1:4] = arguments["query_cameras"]
    own = np.flatnonzero(
        (arguments["gallery_persons"] == arguments["query_persons"])
        & (arguments["gallery_cameras"] == arguments["query_cameras"])
    )
    sides = [k for k in arguments if k.startswith("gallery")]
    copied = extended(arguments, **{k: arguments[k][own] for k in sides})
    assert len(own) >= 3
    assert_same(rank(**arguments), rank(**copied))


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_copies_of_matches_count_as_the_reference_says(seed: int) -> None:
    arguments = trial(seed)
    rng = np.random.default_rng(seed)
    matching = np.flatnonzero(np.isin(arguments["gallery_persons"], arguments["query_persons"]))
    chosen = rng.choice(matching, rng.integers(1, 6))
    sides = [k for k in arguments if k.startswith("gallery")]
    copied = extended(arguments, **{k: arguments[k][chosen] for k in sides})
    expected, result = sorted_reference(copied), rank(**copied)
    np.testing.assert_allclose(result.ap, expected["ap"], atol=1e-12)
    np.testing.assert_allclose(result.ap_trapezoidal, expected["ap_trapezoidal"], atol=1e-12)
    np.testing.assert_allclose(result.inp, expected["inp"], atol=1e-12)
    np.testing.assert_array_equal(result.first_match_rank, np.nan_to_num(expected["first"], nan=-1))


def extended(t: dict[str, np.ndarray], **rows: np.ndarray) -> dict[str, np.ndarray]:
    return {k: np.concatenate([v, rows[k]]) if k in rows else v for k, v in t.items()}


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_junk_changes_nothing(seed: int) -> None:
    arguments = trial(seed)
    with_junk = extended(
        arguments,
        gallery=arguments["query"],  # the nearest that anything can be
        gallery_persons=np.full(len(arguments["query"]), -1),
        gallery_cameras=arguments["query_cameras"] + 1,
    )
    assert_same(rank(**arguments), rank(**with_junk))


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_images_from_the_querys_own_camera_change_nothing_for_it(seed: int) -> None:
    arguments = {k: v[:1] if k.startswith("query") else v for k, v in trial(seed).items()}
    more = extended(
        arguments,
        gallery=arguments["query"],
        gallery_persons=arguments["query_persons"],
        gallery_cameras=arguments["query_cameras"],
    )
    assert_same(rank(**arguments), rank(**more))


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_a_camera_seen_twice_counts_as_the_reference_says(seed: int) -> None:
    """Copies of every image under new camera ids."""
    arguments = trial(seed)
    doubled = extended(
        arguments,
        gallery=arguments["gallery"],
        gallery_persons=arguments["gallery_persons"],
        gallery_cameras=arguments["gallery_cameras"] + 10,
    )
    expected, result = sorted_reference(doubled), rank(**doubled)
    present = np.isin(arguments["query_persons"], arguments["gallery_persons"])
    np.testing.assert_array_equal(result.valid, present)
    np.testing.assert_array_equal(result.first_match_rank, np.nan_to_num(expected["first"], nan=-1))
    np.testing.assert_allclose(result.ap, expected["ap"], atol=1e-12)
    np.testing.assert_allclose(result.inp, expected["inp"], atol=1e-12)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_a_far_distractor_changes_nothing_and_a_near_one_costs_rank_1(seed: int) -> None:
    arguments = {k: v[:1] if k.startswith("query") else v for k, v in trial(seed).items()}
    rows = {"gallery_persons": np.array([999]), "gallery_cameras": np.array([1])}
    far = rank(**extended(arguments, gallery=-arguments["query"], **rows))
    near = rank(**extended(arguments, gallery=arguments["query"], **rows))
    plain = rank(**arguments)
    assert_same(plain, far)
    assert near.first_match_rank[0] == plain.first_match_rank[0] + 1
    assert near.ap[0] < plain.ap[0]


@given(seeds, st.integers(1, 14))
@settings(max_examples=25, deadline=None)
def test_processes_that_share_the_queries_get_what_one_gets(seed: int, processes: int) -> None:
    arguments = trial(seed)
    parts = [rank(**arguments, part=(i, processes)) for i in range(processes)]
    whole, joined = rank(**arguments), join(parts)
    assert_same(whole, joined)
    np.testing.assert_array_equal(whole.query_cameras, joined.query_cameras)
    assert whole.problem == joined.problem


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_rounding_of_the_product_does_not_matter(seed: int) -> None:
    """A crowded gallery, and products whose last bits differ as between libraries and devices."""
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(1500, 8)).astype(np.float32)
    gallery[1000:] = gallery[:500]  # ties
    gallery[500:1000] = gallery[:500] + rng.normal(size=(500, 8)).astype(np.float32) * 1e-7
    persons, cameras = rng.integers(0, 40, 1500), rng.integers(0, 3, 1500)
    labels = (np.arange(40), persons, np.full(40, 3), cameras)
    query = rng.normal(size=(40, 8)).astype(np.float32)

    class Rounded(Cosines):
        def block(self, queries: range) -> torch.Tensor:
            whole = self.rows(slice(None)).double()
            exact = self.query[queries.start : queries.stop].double() @ whole.T
            noise = torch.from_numpy(rng.uniform(-1, 1, tuple(exact.shape)))
            return (exact * (1 + 1e-7 * noise)).float()

    chosen = Trial(*labels)
    noisy = ranking._rank(chosen, Rounded(query, gallery, chosen), (0, 1), 1)
    assert_same(rank(query, gallery, *labels), noisy)
    # The order of a stable sort by the exact products, which is what the ranks must follow.
    sides = Cosines(query, gallery, chosen)
    exact = sides.query.double().numpy() @ sides.rows(slice(None)).double().numpy().T
    for number in range(40):
        order = np.argsort(-np.round(exact[number], 13), kind="stable")
        hits = np.flatnonzero(persons[order] == number) + 1
        assert noisy.first_match_rank[number] == hits[0]
        assert noisy.ap[number] == pytest.approx((np.arange(1, len(hits) + 1) / hits).mean())


def test_equal_images_keep_the_order_of_the_gallery_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(997, 48)).astype(np.float32)
    query = rng.normal(size=(1, 48)).astype(np.float32)
    for match in (0, 3, 500, 996):
        gallery[:] = rng.normal(size=gallery.shape)
        twins = np.r_[np.arange(0, 997, 7), match, 996]
        gallery[twins] = query[0] + 0.1 * gallery[1]
        persons = np.where(np.arange(997) == match, 1, 2)
        result = rank(query, gallery, [1], persons, [0], np.ones(997))
        assert result.first_match_rank[0] == 1 + (np.unique(twins) < match).sum()


def test_a_collapsed_model_ranks_by_the_order_of_the_gallery() -> None:
    features = np.ones((300, 4), dtype=np.float32)
    for value in (features, 0 * features):
        result = rank(value[:2], value, [7, 8], np.arange(300), [0, 0], np.ones(300))
        np.testing.assert_array_equal(result.first_match_rank, [8, 9])


def test_tensors_and_doubles_rank_as_arrays() -> None:
    arguments, _ = golden_trial()
    tensors = dict(arguments)
    for name in ("query", "gallery"):
        tensors[name] = torch.from_numpy(arguments[name]).double().requires_grad_()
    assert_same(rank(**arguments), rank(**tensors))


def test_given_distances_rank_like_the_features_they_come_from() -> None:
    arguments, _ = golden_trial()
    labels = {k: v for k, v in arguments.items() if k not in ("query", "gallery")}
    # Multiples of 1/8: ties everywhere.
    coarse = np.round(8 * (1 - arguments["query"] @ arguments["gallery"].T)) / 8
    coarse = coarse.astype(np.float32)
    result = rank_distances(coarse, **labels)
    for number in np.flatnonzero(result.valid):
        person, camera = labels["query_persons"][number], labels["query_cameras"][number]
        same = labels["gallery_persons"] == person
        kept = (labels["gallery_persons"] != -1) & ~(same & (labels["gallery_cameras"] == camera))
        order = np.argsort(coarse[number][kept], kind="stable")
        assert result.first_match_rank[number] == same[kept][order].argmax() + 1
    broken = coarse.copy()
    broken[3, 4] = np.nan
    with pytest.raises(UserError, match="distances hold NaN"):
        rank_distances(broken, **labels)


def test_distances_are_ranked_at_the_precision_that_they_have() -> None:
    """Eleven that only float64 can tell apart, and the match is the furthest of them."""
    rng = np.random.default_rng(0)
    distances = rng.uniform(1, 2, (1, 300))
    places = rng.choice(300, 11, replace=False)
    distances[0, places] = 0.5 + 1e-12 * np.arange(11)
    persons = np.where(np.arange(300) == places[-1], 1, 2)
    labels = ([1], persons, [0], np.ones(300, dtype=int))
    assert rank_distances(distances, *labels).first_match_rank[0] == 11
    ties = rank_distances(distances.astype(np.float32), *labels).first_match_rank[0]
    assert ties == 1 + (places < places[-1]).sum()
    with pytest.raises(ValueError, match="not int64"):
        rank_distances(distances.astype(np.int64), *labels)


def test_a_gallery_too_large_to_copy_is_ranked_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, _ = golden_trial()
    whole, top = rank(**arguments), top_matches(**arguments)
    broken = arguments["gallery"].copy()
    broken[np.flatnonzero(arguments["gallery_persons"] != -1)[-1], 0] = np.inf
    monkeypatch.setattr(similarities, "COPY_BYTES", 0)
    monkeypatch.setattr(similarities, "NORMALISED", 100)
    assert_same(whole, rank(**arguments))
    np.testing.assert_array_equal(top_matches(**arguments).indices, top.indices)
    with pytest.raises(UserError, match="gallery: features hold NaN"):
        rank(**{**arguments, "gallery": broken})


def test_the_margin_is_twice_what_rounding_reaches() -> None:
    """Of rows that are alike, which is what rounds worst: all partial sums grow together."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for dims in (257, 513, 2048):
        base = rng.normal(size=dims)
        query = (base + 0.05 * rng.normal(size=(64, dims))).astype(np.float32)
        gallery = (base + 0.05 * rng.normal(size=(500, dims))).astype(np.float32)
        labels = (["a"] * 64, ["b"] * 500, [0] * 64, [1] * 500)
        sides = Cosines(query, gallery, Trial(*labels))
        found = sides.block(range(64)).double()
        exact = sides.query.double() @ sides.rows(slice(None)).double().T
        error = (found - exact).numpy()
        spread = np.ptp(error, axis=1).max()  # of the difference of two products
        worst = max(worst, spread / float(sides.margin(torch.ones(1))[0]))
    assert 0 < worst < 0.5


def test_rankings_at_once_leave_the_threads_as_they_were() -> None:
    arguments, _ = golden_trial()
    before, whole = torch.get_num_threads(), rank(**arguments)
    torch.set_num_threads(3)
    inside = []

    def one(_: int) -> None:
        with one_thread_each() as threads:
            inside.append(threads)
            time.sleep(0.01)
        assert_same(whole, rank(**arguments))

    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(8)))
        assert inside == [3] * 8
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_ranking_works_in_inference_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = trial(7)
    expected = rank(**arguments)
    monkeypatch.setattr(similarities, "NORMALISED", 7)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with torch.inference_mode():
            sides = {side: torch.from_numpy(arguments[side]) + 0 for side in ("query", "gallery")}
            assert_same(rank(**arguments | sides), expected)
    finally:
        torch.set_num_threads(before)


def test_block_size_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, _ = golden_trial()
    whole = rank(**arguments)
    monkeypatch.setattr(ranking, "MAX_ROWS", 1)
    assert_same(whole, rank(**arguments))


def test_each_camera_is_measured_like_the_whole() -> None:
    arguments, _ = golden_trial()
    result = rank(**arguments)
    slices = result.by_camera((1, 5))
    assert list(slices) == ["0", "1", "2", "3", "4", "5"]
    for camera, values in slices.items():
        chosen = arguments["query_cameras"] == int(camera)
        alone = {k: v[chosen] if k.startswith("query") else v for k, v in arguments.items()}
        assert values == rank(**alone).summary((1, 5))
    whole, valid = (
        result.summary((1, 5)),
        {c: v["queries"] - v["invalid_queries"] for c, v in slices.items()},
    )
    for name in ("rank_1", "rank_5", "mAP", "mAP_trapezoidal", "mINP"):
        weighted = sum(slices[c][name] * n for c, n in valid.items()) / sum(valid.values())
        assert weighted == pytest.approx(whole[name])
    assert result.rank_1_by_camera() == {c: v["rank_1"] for c, v in slices.items()}


def test_a_camera_without_a_valid_query_is_left_out() -> None:
    features = np.eye(3, dtype=np.float32)
    result = rank(features[:2], features, ["a", "b"], ["a", "c", "d"], [1, 7], [2, 2, 2])
    assert list(result.by_camera()) == ["1"]


@pytest.mark.parametrize("gallery", [1, 19_733, 500_000, 3_000_000])
@pytest.mark.parametrize("threads", [1, 2, 16, 192])
def test_memory_does_not_grow_with_the_threads(gallery: int, threads: int) -> None:
    cpu, queries = torch.device("cpu"), range(100, 3468)
    workers = ranking._workers(threads, gallery, cpu)
    blocks = ranking._blocks(queries, gallery, cpu, workers)
    assert [query for block in blocks for query in block] == list(queries)
    assert 1 <= workers <= threads
    assert workers * max(map(len, blocks)) * 4 * gallery <= ranking.BLOCK_BYTES
    if gallery < 20_000:
        assert workers >= min(threads, 64), "what is small keeps its threads"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_ranks_like_the_cpu() -> None:
    rng = np.random.default_rng(0)
    arguments, _ = golden_trial()
    gallery = np.concatenate([arguments["gallery"], arguments["gallery"][::2]])
    arguments["gallery"] = gallery + rng.normal(size=gallery.shape).astype(np.float32) * 1e-7
    for name in ("gallery_persons", "gallery_cameras"):
        arguments[name] = np.concatenate([arguments[name], arguments[name][::2]])
    there = {k: torch.from_numpy(arguments[k]).cuda() for k in ("query", "gallery")}
    assert_same(rank(**arguments), rank(**arguments | there))


def test_top_matches_agree_with_the_ranks() -> None:
    arguments, _ = golden_trial()
    result, top = rank(**arguments), top_matches(**arguments, k=10)
    assert (np.diff(top.similarities, axis=1) <= 0).all()
    shown = arguments["gallery_persons"][top.indices]
    assert (shown != -1).all()
    np.testing.assert_array_equal(top.correct, shown == arguments["query_persons"][:, None])
    first = np.where(top.correct.any(axis=1), top.correct.argmax(axis=1) + 1, 0)
    within = (result.first_match_rank > 0) & (result.first_match_rank <= 10)
    np.testing.assert_array_equal(first, np.where(within, result.first_match_rank, 0))


def test_top_matches_of_a_small_gallery_are_padded() -> None:
    features = np.eye(3, dtype=np.float32)
    persons, cameras = ["a", "b", "-1"], [1, 1, 1]
    top = top_matches(features[:1], features, ["a"], persons, [2], cameras, k=4)
    np.testing.assert_array_equal(top.indices, [[0, 1, -1, -1]])
    np.testing.assert_array_equal(top.correct, [[True, False, False, False]])
    assert np.isnan(top.similarities[0, 2:]).all()


@pytest.mark.parametrize(
    ("gallery_persons", "gallery_cameras", "message"),
    [
        (["a", "b"], [1, 1], "every image has the same camera id"),
        (["c", "d"], [1, 2], "must show the same persons"),
        (["a", "b"], [1, 2], "give the images their real cameras, or"),
        (["-1", "-1"], [1, 2], "all junk"),
    ],
)
def test_no_valid_query_is_explained(
    gallery_persons: list[str], gallery_cameras: list[int], message: str
) -> None:
    features = np.eye(2, dtype=np.float32)
    query_cameras = [1, 1] if gallery_cameras == [1, 1] else [1, 2]
    with pytest.raises(UserError, match=message):
        rank(features, features, ["a", "b"], gallery_persons, query_cameras, gallery_cameras)


def test_whole_numbers_are_the_same_labels_in_any_type() -> None:
    arguments = trial(3)
    whole = rank(**arguments)
    for side in ("query", "gallery"):
        for kind in (float, str, object, np.float32):
            changed = {k: v.astype(kind) if side in k else v for k, v in arguments.items()}
            changed |= {k: arguments[k] for k in ("query", "gallery")}
            assert_same(whole, rank(**changed))
            lists = {k: v.tolist() if side in k else v for k, v in changed.items()}
            assert_same(whole, rank(**lists | {k: arguments[k] for k in ("query", "gallery")}))
    for wrong in (1.5, np.nan, np.inf):
        cameras = arguments["gallery_cameras"].astype(float)
        cameras[4] = wrong
        with pytest.raises(UserError, match=rf"gallery: cameras hold {wrong}: labels must be"):
            rank(**{**arguments, "gallery_cameras": cameras})


def test_bad_input_is_named() -> None:
    arguments = trial(0)
    with pytest.raises(ValueError, match="one of each per image"):
        rank(**{**arguments, "gallery_persons": arguments["gallery_persons"][1:]})
    broken = arguments["query"].copy()
    broken[0, 0] = np.nan
    with pytest.raises(UserError, match="query: features hold NaN"):
        rank(**{**arguments, "query": broken})
