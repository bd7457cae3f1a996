import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_prc import calculate_precision_recall_full

from lookalike.metrics import manifold
from lookalike.metrics.manifold import precision_and_recall, radii


def points(seed, count, dim, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(shift, scale, (count, dim))


def test_radii_are_the_distance_to_the_third_neighbour():
    line = np.array([[0.0], [1.0], [3.0], [7.0], [15.0]])
    assert radii(line) == pytest.approx(np.array([7, 6, 4, 7, 14]) ** 2)


def test_precision_is_how_real_and_recall_how_varied():
    real = points(0, 400, 3)
    assert precision_and_recall(real, real) == (1, 1)
    assert precision_and_recall(real, real + 100) == (0, 0)
    few = points(1, 400, 3, scale=0.1)  # all in the middle: real, and of little variety
    precision, recall = precision_and_recall(real, few)
    assert precision == 1
    assert recall < 0.05
    wide = points(2, 400, 3, scale=5)
    precision, recall = precision_and_recall(real, wide)
    assert precision < 0.2
    assert recall > 0.9


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(4, 60), st.integers(4, 60), st.sampled_from([1, 3, 16])
)
def test_agreement_with_torch_fidelity(seed, real_count, fake_count, dim):
    real, fake = points(seed, real_count, dim), points(seed + 1, fake_count, dim, shift=0.3)
    theirs = calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real))
    assert precision_and_recall(real, fake) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_change_nothing(monkeypatch, block):
    real, fake = points(0, 50, 5), points(1, 41, 5, shift=0.4)
    whole, whole_radii = precision_and_recall(real, fake), radii(real)
    assert 0 < whole[0] < 1
    monkeypatch.setattr(manifold, "BLOCK", block)
    assert precision_and_recall(real, fake) == whole
    assert precision_and_recall(real, fake, whole_radii) == whole
    assert radii(real) == pytest.approx(whole_radii)


def test_bad_features_are_named():
    good = points(0, 10, 3)
    with pytest.raises(ValueError, match="at least 4 samples, not 3"):
        precision_and_recall(good, good[:3])
    with pytest.raises(ValueError, match=r"fake features are \(10, 2\), real \(10, 3\)"):
        precision_and_recall(good, good[:, :2])
    bad = good.copy()
    bad[3] = np.inf
    with pytest.raises(ValueError, match="fake features hold NaN or infinity"):
        precision_and_recall(good, bad)
