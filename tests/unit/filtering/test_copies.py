"""What shows a person as an image that is kept already adds nothing."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.filtering.copies import diversity_of_real, near_copies
from lookalike.filtering.filter import Crops

from .making import angled

LEAST = 1 - np.cos(np.radians(15))


def distances(*degrees: float) -> list[float]:
    return [1 - np.cos(np.radians(angle)) for angle in degrees]


def apart(crops: Crops) -> Crops:
    """With pixels that no two have in common."""
    images = np.random.default_rng(0).integers(0, 256, crops.images.shape, np.uint8)
    return Crops(crops.rows, images, crops.embeddings)


def test_compared_with_what_is_kept_and_with_nothing_else() -> None:
    """The third is near the second alone, which is left out for being near the first."""
    crops = apart(angled(["a"] * 4, [0, 10, 20, 31]))
    found = near_copies(crops, np.ones(4, bool), 0.98, LEAST)
    assert np.isnan(found.diversity[0])
    assert found.diversity[1:] == pytest.approx(distances(10, 20, 11), abs=1e-6)
    assert found.views.tolist() == [False, True, False, True]
    assert not found.pixels.any()


def test_either_measure_decides_and_both_see_the_same_images() -> None:
    """The second has the first's pixels, so it is no reason to leave out the third beside it."""
    crops = apart(angled(["a"] * 3, [0, 40, 42]))
    crops.images[1] = crops.images[0]
    found = near_copies(crops, np.ones(3, bool), 0.98, LEAST)
    assert found.pixels.tolist() == [False, True, False]
    assert not found.views.any()
    assert found.diversity[2] == pytest.approx(distances(42)[0], abs=1e-6)


def test_what_another_filter_has_rejected_takes_no_part() -> None:
    crops = apart(angled(["a"] * 3, [0, 5, 12]))
    found = near_copies(crops, np.array([False, True, True]), 0.98, LEAST)
    assert np.isnan(found.diversity[:2]).all()
    assert found.diversity[2] == pytest.approx(distances(7)[0], abs=1e-6)
    assert found.views.tolist() == [False, False, True]


def test_persons_do_not_meet() -> None:
    crops = angled(["a", "b", "a", "b"], [0, 0, 90, 90])
    found = near_copies(apart(crops), np.ones(4, bool), 0.98, LEAST)
    assert not found.views.any() and not found.pixels.any()


def test_of_real_images_each_is_compared_with_all_before_it() -> None:
    crops = angled(["a", "b", "a", "a", "c"], [0, 0, 30, 20, 0])
    assert diversity_of_real(crops) == pytest.approx(distances(30, 10), abs=1e-6)
    assert len(diversity_of_real(angled(["a", "b"], [0, 0]))) == 0
