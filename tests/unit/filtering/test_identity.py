import tracemalloc

import numpy as np
import pandas as pd
import pytest

from lookalike.filtering.filter import Crops, Material
from lookalike.filtering.identity import IDENTITY, similarity_to_others, similarity_to_real

X, Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])
DIAGONAL = (X + Y) / np.sqrt(2)


def persons(*names):
    return np.array(names, dtype=object)


def stack(*vectors):
    return np.stack(vectors).astype(np.float32)


def test_cosine_to_the_real_centroid():
    scores = similarity_to_real(
        stack(X, Y, Y), persons("a", "a", "b"), stack(X, Y, Y), persons("a", "a", "b")
    )
    assert scores == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 1.0])
    with pytest.raises(ValueError, match="person c"):
        similarity_to_real(stack(X), persons("c"), stack(X), persons("a"))


def test_an_image_does_not_vouch_for_itself():
    everyone = np.ones(3, dtype=bool)
    scores = similarity_to_others(stack(X, Y, Y), persons("a", "a", "a"), everyone)
    assert scores == pytest.approx([0.0, np.sqrt(0.5), np.sqrt(0.5)])


def test_only_members_make_the_centroid_and_a_lone_image_is_not_judged():
    scores = similarity_to_others(
        stack(X, Y, DIAGONAL, X), persons("a", "a", "a", "b"), np.array([True, False, True, True])
    )
    assert scores[0] == pytest.approx(np.sqrt(0.5))  # to the diagonal alone
    assert scores[1] == pytest.approx(np.cos(np.pi * 3 / 8))  # to the mean of both members
    assert scores[2] == pytest.approx(np.sqrt(0.5))
    assert np.isnan(scores[3])


def test_pixels_are_not_copied():
    """75,000 variations would take 2 GB."""
    rows = pd.DataFrame({"person_id": ["a", "b"] * 500, "origin": "variation"})
    images = np.broadcast_to(np.zeros((1, 128, 64, 3), np.uint8), (1000, 128, 64, 3))
    crops = Crops(rows, images, np.ones((1000, 4), np.float32))
    material = Material(crops, np.ones(1000, bool), crops, crops, None)
    tracemalloc.start()
    assert IDENTITY.score(material) == pytest.approx(1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
