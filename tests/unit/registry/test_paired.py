"""The paired bootstrap over persons."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.registry.paired import bootstrap_lower_bound


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=30),
    st.integers(1, 5),
    st.floats(-1, 1),
)
def test_bootstrap_bound(differences: list[float], persons: int, shift: float) -> None:
    """Within the range of the persons' means, moves with a shift, is a number for numbers."""
    labels = [str(i % persons) for i in range(len(differences))]
    bound = bootstrap_lower_bound(differences, labels)
    means = pd.Series(differences).groupby(labels).mean()
    assert means.min() - 1e-9 <= bound <= means.max() + 1e-9
    shifted = bootstrap_lower_bound([d + shift for d in differences], labels)
    assert shifted == pytest.approx(bound + shift, abs=1e-9)


def test_bootstrap_covers_the_true_mean() -> None:
    """The bound lies under the true mean about 95 times in 100."""
    rng = np.random.default_rng(0)
    under = 0
    for _ in range(100):
        person = np.repeat(np.arange(60), 3)
        d = rng.normal(0.1, 0.2, 60)[person] + rng.normal(0, 0.05, 180)
        under += bootstrap_lower_bound(d, person.astype(str)) < 0.1
    assert 88 <= under <= 100


def test_bootstrap_of_nothing_or_nan_is_nan() -> None:
    assert np.isnan(bootstrap_lower_bound([], []))
    assert np.isnan(bootstrap_lower_bound([0.1, float("nan")], ["a", "b"]))
