import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from lookalike.metrics.distances import FrechetReference, frechet_distance, kernel_distance


def features(seed, count, dim, shift=0.0):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(seed + 100).normal(size=(dim, dim)) / np.sqrt(dim)
    return rng.normal(size=(count, dim)) @ mixing + shift


def direct(real, fake):
    """The textbook formula with a general matrix square root."""
    a, b = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = linalg.sqrtm(a @ b).real
    shift = real.mean(axis=0) - fake.mean(axis=0)
    return shift @ shift + np.trace(a) + np.trace(b) - 2 * np.trace(root)


@pytest.mark.parametrize("dim", [2, 7, 48])
def test_frechet_equals_the_direct_formula(dim):
    real, fake = features(0, 300, dim), features(1, 400, dim, shift=0.2)
    assert frechet_distance(real, fake) == pytest.approx(direct(real, fake), rel=1e-9)


def test_frechet_of_gaussians_in_closed_form():
    rng = np.random.default_rng(0)
    line = rng.normal(size=200_000)
    # In one dimension: (difference of means)^2 + (difference of standard deviations)^2.
    assert frechet_distance(line[:, None], 3 * line[:, None] + 2) == pytest.approx(8, rel=0.02)


@pytest.mark.parametrize("count", [20, 200])
@pytest.mark.filterwarnings("ignore:.*rank-deficient")
def test_frechet_is_zero_for_itself_symmetric_and_in_any_order(count):
    one, other = features(0, count, 32), features(1, count, 32, shift=0.1)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-6)
    assert FrechetReference.of(one).distance(other[::-1]) == pytest.approx(
        frechet_distance(one, other), rel=1e-9
    )
    assert frechet_distance(one, one + 1) == pytest.approx(32, rel=1e-6)


def test_few_samples_are_a_warning_and_still_right():
    # 6 + 6 samples in 40 dimensions lie in an 11-dimensional space, where all is well-defined.
    real, fake = features(0, 6, 40), features(1, 6, 40)
    joint = np.concatenate([real, fake])
    basis = np.linalg.svd(joint - joint.mean(axis=0))[2][:11].T
    with pytest.warns(UserWarning, match="6 samples in 40 dimensions"):
        wide = frechet_distance(real, fake)
    with pytest.warns(UserWarning, match="rank-deficient"):
        narrow = frechet_distance(real @ basis, fake @ basis)
    assert wide == pytest.approx(narrow, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(-5, 5))
def test_frechet_follows_turns_shifts_and_scales(seed, scale, shift):
    """Moving both sets together changes nothing; scaling both changes it by the square."""
    real, fake = features(seed, 60, 6), features(seed + 1, 50, 6, shift=0.3)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    moved = frechet_distance(scale * real @ turn + shift, scale * fake @ turn + shift)
    assert moved == pytest.approx(scale**2 * frechet_distance(real, fake), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("real_count", "fake_count", "dim"), [(400, 300, 64), (90, 60, 24)])
def test_agreement_with_torch_fidelity(real_count, fake_count, dim):
    """An established implementation, on the same features."""
    real, fake = features(0, real_count, dim), features(1, fake_count, dim, shift=0.1)
    statistics = [fid_features_to_statistics(torch.from_numpy(side)) for side in (real, fake)]
    (fid,) = fid_statistics_to_metric(*statistics, verbose=False).values()
    assert frechet_distance(real, fake) == pytest.approx(fid, rel=1e-6)

    equal = real[:fake_count]  # both in one subset of all: no chance is left
    kid = kid_features_to_metric(
        torch.from_numpy(equal),
        torch.from_numpy(fake),
        kid_subsets=1,
        kid_subset_size=fake_count,
        verbose=False,
    )["kernel_inception_distance_mean"]
    ours = kernel_distance(equal, fake, subset_size=fake_count)
    assert ours == pytest.approx(kid, rel=1e-6)


def test_kernel_subsets_agree_with_torch_fidelity():
    real, fake = features(0, 500, 16), features(1, 500, 16, shift=0.3)
    theirs = kid_features_to_metric(
        torch.from_numpy(real),
        torch.from_numpy(fake),
        kid_subsets=100,
        kid_subset_size=100,
        rng_seed=1,
        verbose=False,
    )
    # Other subsets: equal but for the error of a mean over 100 of them.
    error = theirs["kernel_inception_distance_std"] / 10
    ours = kernel_distance(real, fake, subset_size=100)
    assert abs(ours - theirs["kernel_inception_distance_mean"]) < 5 * error
    assert ours > 20 * error


def test_the_benchmark_both_roots_agree_and_ours_is_quicker():
    """Half of the ratio that a quiet machine shows; at 2048 dimensions it is larger."""
    script = Path(__file__).parents[3] / "benchmarks" / "frechet.py"
    done = subprocess.run(
        [sys.executable, str(script), "--dim", "1024"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ratio = done.stdout.splitlines()[-1]
    assert ratio.endswith("x")
    assert float(ratio[:-1]) > 3


def test_a_collapse_is_named():
    real = features(0, 200, 8)
    alike = np.repeat(real[:1], 100, axis=0)
    with pytest.warns(UserWarning, match="the generator has collapsed"):
        distance = frechet_distance(real, alike)
    shift = real.mean(axis=0) - real[0]
    assert distance == pytest.approx(shift @ shift + np.trace(np.cov(real, rowvar=False)))


def test_smaller_kernel_subsets_are_named():
    one, other = features(0, 30, 4), features(1, 40, 4)
    with pytest.warns(UserWarning, match="subsets of 30 samples, not 1000: there are 30 real"):
        kernel_distance(one, other)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_bad_features_are_named(distance):
    good = features(0, 10, 3)
    bad = good.copy()
    bad[4, 1] = np.nan
    with pytest.raises(ValueError, match="fake features hold NaN"):
        distance(good, bad)
    with pytest.raises(ValueError, match="real features must be"):
        distance(good[:1], good)
    with pytest.raises(ValueError, match="2 dimensions, real 3"):
        distance(good, good[:, :2])


def test_kernel_distance_equals_the_double_sum():
    x, y = features(0, 12, 4), features(1, 12, 4, shift=0.5)

    def kernel(a, b):
        return (a @ b / 4 + 1) ** 3

    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
    expected = np.mean([kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs]) - 2 * np.mean(
        [kernel(a, b) for a in x for b in y]
    )
    assert kernel_distance(x, y, subset_size=12) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased():
    # Equal distributions: the mean over many draws is 0 within its own error, whatever their size.
    for count in (5, 20):
        values = [
            kernel_distance(
                np.random.default_rng(2 * seed).normal(size=(count, 3)),
                np.random.default_rng(2 * seed + 1).normal(size=(count, 3)),
                subset_size=count,
            )
            for seed in range(600)
        ]
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values)) < 3 * error
        assert min(values) < 0 < max(values)


def test_kernel_distance_grows_with_the_shift_and_repeats():
    real = features(0, 300, 8)
    near, far = (features(0, 300, 8, shift=shift) for shift in (0.2, 0.6))

    def measure(fake):
        return kernel_distance(real, fake, subsets=10, subset_size=100)

    assert measure(near) < measure(far)
    assert measure(near) == measure(near)
