from __future__ import annotations

import numpy as np

from lookalike.inversion.pairs import Pairs

PERSONS = ["a", "a", "b", "b", "b", "c"]


def pairs(same: float) -> Pairs:
    """Images whose left column says which they are, and whose right one is black."""
    images = np.zeros((6, 4, 2, 3), np.uint8)
    images[:, :, 0] = np.arange(1, 7)[:, None, None]
    return Pairs(images, PERSONS, np.arange(6), seed=1, same=same)


def which(images: np.ndarray) -> np.ndarray:
    return images.max(axis=(1, 2, 3)).astype(int) - 1


def test_a_pair_is_of_one_person_and_every_image_a_target() -> None:
    who, how, labels = pairs(same=0.0).read(0, 600)
    persons = np.array(PERSONS)
    assert (persons[which(who)] == persons[which(how)]).all()
    assert (labels == which(how)).all()
    assert np.bincount(which(how)).tolist() == [100] * 6
    assert 0.3 < (which(who) == which(how)).mean() < 0.7  # of a, b and c: 1/2, 1/3, 1


def test_an_image_with_itself_is_flipped_alike() -> None:
    who, how, _ = pairs(same=1.0).read(0, 200)
    assert (who == how).all()
    assert 0.3 < (who[:, 0, 0, 0] == 0).mean() < 0.7


def test_a_batch_is_the_same_every_time() -> None:
    first, second = pairs(same=0.3).read(32, 16), pairs(same=0.3).read(32, 16)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert (first[1] != pairs(same=0.3).read(48, 16)[1]).any()
