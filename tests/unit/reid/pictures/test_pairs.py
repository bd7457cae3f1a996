"""Pairs of query and gallery images by similarity."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.reid.pictures import pairs
from lookalike.reid.pictures.pairs import BINS, PairSimilarities, pair_similarities
from lookalike.reid.trial import Trial

RNG = np.random.default_rng(0)


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
