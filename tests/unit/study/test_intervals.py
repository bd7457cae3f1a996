"""The paired bootstrap over persons and seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.study.intervals import paired_interval


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(2, 30), st.floats(-1, 1), st.integers(0, 99))
def test_an_interval_moves_with_a_shift(seeds: int, persons: int, shift: float, draw: int) -> None:
    rng = np.random.default_rng(draw)
    queries = rng.integers(1, 5, persons).astype(float)
    model, other = rng.random((2, seeds, persons)) * queries
    found = paired_interval(model, other, queries)
    assert found.low <= found.high
    assert found.mean == pytest.approx((model - other).sum() / (seeds * queries.sum()))
    moved = paired_interval(model + shift * queries, other, queries)
    assert moved.low == pytest.approx(found.low + shift, abs=1e-9)
    assert moved.high == pytest.approx(found.high + shift, abs=1e-9)
    turned = paired_interval(other, model, queries)
    assert turned.mean == pytest.approx(-found.mean, abs=1e-12)


@pytest.mark.parametrize(("person_spread", "seed_spread"), [(0.2, 0.0), (0.0, 0.05), (0.2, 0.05)])
def test_an_interval_covers_the_truth(person_spread: float, seed_spread: float) -> None:
    """About 95 times in 100, whichever of the two varies; a bootstrap of five seeds a bit less."""
    rng = np.random.default_rng(0)
    queries = np.full(60, 3.0)
    covered = 0
    for _ in range(100):
        effect = 0.1 + rng.normal(0, person_spread, 60) + rng.normal(0, seed_spread, (5, 1))
        noise = rng.normal(0, 0.05, (5, 60))
        found = paired_interval(queries * (effect + noise), np.zeros((5, 60)), queries)
        covered += found.low < 0.1 < found.high
    assert 84 <= covered <= 100


def test_one_seed_says_nothing_about_others() -> None:
    """Then the interval is that over persons alone."""
    differences = np.array([[0.0, 1.0, 0.0, 1.0]])
    found = paired_interval(differences, np.zeros((1, 4)), np.ones(4))
    assert found.mean == 0.5 and (found.low, found.high) == (0.0, 1.0)
    same = paired_interval(np.full((1, 4), 0.2), np.zeros((1, 4)), np.ones(4))
    assert (same.low, same.high) == pytest.approx((0.2, 0.2)) and same.clear


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="numbers of queries"):
        paired_interval(np.zeros((2, 3)), np.zeros((2, 3)), np.ones(2))
