import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.config import Threshold
from lookalike.filtering.calibration import calibrate, rejection_curve, threshold_for

scores_strategy = st.lists(st.floats(-5, 5), min_size=1, max_size=60).map(np.array)


@given(scores_strategy, st.floats(0, 1))
def test_the_bound_is_the_highest_within_the_rate(scores, rate):
    bound = threshold_for(scores, rate)
    assert np.mean(scores < bound) <= rate + 1e-9
    if bound <= scores.max():
        assert np.mean(scores < np.nextafter(bound, np.inf)) > rate - 1e-9


@given(scores_strategy, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_never_lowers_the_bound(scores, one, other):
    low, high = sorted((one, other))
    assert threshold_for(scores, low) <= threshold_for(scores, high)


@given(scores_strategy, st.floats(0, 1), st.randoms())
def test_the_order_of_scores_does_not_matter(scores, rate, random):
    shuffled = scores.copy()
    random.shuffle(shuffled)
    assert threshold_for(shuffled, rate) == threshold_for(scores, rate)


def test_rates_at_the_ends_and_whole_shares():
    scores = np.arange(100.0)
    assert threshold_for(scores, 0) == 0
    assert (scores < threshold_for(scores, 1)).all()
    for percent in range(100):  # 0.07 * 100 and 0.29 * 100 are no whole floats
        assert (scores < threshold_for(scores, percent / 100)).sum() == percent


@pytest.mark.parametrize(
    ("scores", "rate"), [([], 0.1), ([1.0, float("nan")], 0.1), ([1.0], 1.5), ([1.0], -0.1)]
)
def test_nothing_to_calibrate_on(scores, rate):
    with pytest.raises(ValueError, match=r"calibration|rate"):
        threshold_for(np.array(scores), rate)


def test_given_and_calibrated_bounds_say_what_they_do_to_real_images():
    scores = np.arange(10.0)
    given_bound = calibrate(Threshold(value=3), scores, "real train images")
    assert (given_bound.value, given_bound.how, given_bound.real_rejected) == (3, "given", 0.3)
    calibrated = calibrate(Threshold(rejection_rate=0.2), scores, "real train images")
    assert (calibrated.value, calibrated.real_rejected) == (2, 0.2)
    assert "20.00%" in calibrated.how
    assert "10 real train images" in calibrated.how


def test_rejection_curve_counts():
    curve = rejection_curve(np.array([0.0, 1.0, 1.0, 4.0]), points=5)
    assert curve["threshold"].tolist() == [0, 1, 2, 3, 4]
    assert curve["rejected"].tolist() == [0, 0.25, 0.75, 0.75, 0.75]
