"""How near the nearest real images are."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.filtering.realism import realism

from .making import angled


def test_the_third_nearest_real_image_counts() -> None:
    real = angled(["a"] * 5, [0] * 5, neutral=[0, 1, 2, 10, 11])
    made = angled(["new"] * 3, [0] * 3, neutral=[0, 10, 100])
    assert realism(made, real) == pytest.approx([-2, -8, -98])


def test_agrees_with_comparing_one_by_one() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=40), rng.normal(size=20)
    scores = realism(
        angled(["new"] * 20, [0] * 20, neutral=made), angled(["a"] * 40, [0] * 40, neutral=real)
    )
    expected = [-np.sort(np.abs(real - value))[2] for value in made]
    assert scores == pytest.approx(expected, abs=1e-5)


def test_too_few_real_images_are_named() -> None:
    with pytest.raises(ValueError, match="2 samples have no 3 nearest"):
        realism(angled(["new"], [0], neutral=[0]), angled(["a"] * 2, [0] * 2, neutral=[0, 1]))
