"""A new person is nobody among the real ones."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.filtering.novelty import novelty

from .making import angled


def test_the_nearest_person_counts() -> None:
    known = angled(["a", "a", "b"], [-10, 10, 90])  # centroids at 0 and 90 degrees
    scores = novelty(angled(["new"] * 4, [0, 60, 90, 180]), known)
    assert scores == pytest.approx([0, 1 - np.cos(np.radians(30)), 0, 1], abs=1e-6)


def test_the_number_of_images_of_a_person_makes_no_difference() -> None:
    new = angled(["new"], [40])
    often, once = angled(["a"] * 50 + ["b"], [0] * 50 + [90]), angled(["a", "b"], [0, 90])
    assert novelty(new, often) == pytest.approx(novelty(new, once))
