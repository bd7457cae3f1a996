from __future__ import annotations

import numpy as np
import pytest

from lookalike.inversion.encoder import Encoder, invert_all
from lookalike.rehearsal.watch import Stopwatch
from lookalike.synthesis.likeness import crosses, likeness, rank1


def test_an_image_does_not_find_itself() -> None:
    """Of two persons with two images each, one image lies nearer to the other person's."""
    angles = np.radians([0.0, 10.0, 90.0, 8.0])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    persons = ["a", "a", "b", "b"]
    # 0 -> 3 (b), 1 -> 3 (b), 2 -> 1 (a), 3 -> 1 (a)
    assert rank1(features, features, persons) == 0
    assert rank1(features[[1, 0, 2, 3]], features, persons) == pytest.approx(0.5)


def test_all_three_are_measured(encoder: Encoder) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 16, 3), dtype=np.uint8)
    persons = list("aabbcc")

    def embed(some: np.ndarray) -> np.ndarray:
        means = some.mean(axis=(1, 2)).astype(np.float32) - 127
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    watch = Stopwatch()
    with watch.watching():
        ws = invert_all(encoder, images)
        found = likeness(encoder.generator, ws, embed, images, persons)
    assert set(found) == {"real_rank1", "reconstruction_rank1", "cross_rank1"}
    assert found["real_rank1"] == rank1(embed(images), embed(images), persons)
    assert all(0 <= value <= 1 for value in found.values())
    assert crosses(ws, persons).shape == ws.shape
    # What takes longer with more validation images is counted, for a rehearsal to reckon with.
    assert {name: done.count for name, done in watch.work().items()} == {
        "reconstruct": 6,
        "cross": 6,
    }
