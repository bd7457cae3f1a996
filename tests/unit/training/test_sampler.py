"""The samplers: whole epochs, whole persons, the same position always the same image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.errors import UserError
from lookalike.training.sampler import PKSampler, ShuffledSampler

SIZES, SEEDS = st.integers(1, 40), st.integers(0, 2**31)


@settings(deadline=None)
@given(SIZES, SEEDS)
def test_every_epoch_is_a_permutation(size: int, seed: int) -> None:
    epochs = ShuffledSampler(size, seed).indices(0, 3 * size).reshape(3, size)
    assert (np.sort(epochs, axis=1) == np.arange(size)).all()


@settings(deadline=None)
@given(SIZES, SEEDS, st.integers(0, 100), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_a_position_does_not_depend_on_the_batches(
    size: int, seed: int, start: int, counts: list[int]
) -> None:
    whole = ShuffledSampler(size, seed).indices(start, sum(counts))
    sampler, parts = ShuffledSampler(size, seed), []
    position = start
    for count in counts:
        parts.append(sampler.indices(position, count))
        position += count
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_epochs_and_seeds_differ() -> None:
    first, second = ShuffledSampler(50, 1).indices(0, 100).reshape(2, 50)
    assert (first != second).any()
    assert (first != ShuffledSampler(50, 2).indices(0, 50)).any()


@st.composite
def populations(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """Labels of a few persons with 1 to 9 images each, in any order; P and K."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    names = draw(st.permutations(range(10, 10 + len(sizes))))
    labels = np.repeat(names, sizes)
    np.random.default_rng(draw(SEEDS)).shuffle(labels)
    return labels, draw(st.integers(1, len(sizes))), draw(st.integers(1, 5))


@settings(deadline=None)
@given(populations(), SEEDS)
def test_pk_batches_hold_whole_and_different_persons(
    population: tuple[np.ndarray, int, int], seed: int
) -> None:
    labels, persons, images = population
    batches = PKSampler(labels, persons, images, seed).indices(0, 12 * persons * images)
    for batch in batches.reshape(12, persons, images):
        people = labels[batch]
        assert (people == people[:, :1]).all()  # side by side: any whole rows are whole persons
        assert len(set(people[:, 0])) == persons
        for chosen, person in zip(batch, people[:, 0], strict=True):
            assert len(set(chosen)) == min(images, (labels == person).sum())


@settings(deadline=None)
@given(populations(), SEEDS, st.integers(0, 60), st.lists(st.integers(1, 30), min_size=1))
def test_pk_position_does_not_depend_on_the_batches(
    population: tuple[np.ndarray, int, int], seed: int, start: int, counts: list[int]
) -> None:
    whole = PKSampler(*population, seed).indices(start, sum(counts))
    sampler, parts, position = PKSampler(*population, seed), [], start
    for count in counts:
        parts.append(sampler.indices(position, count))
        position += count
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_pk_sees_everybody_and_every_image_equally_often() -> None:
    labels = np.repeat(np.arange(6), 4)
    seen = PKSampler(labels, 3, 2, 0).indices(0, 24 * 10)  # each image once in two passes
    assert (np.bincount(seen) == 10).all()
    few = PKSampler(np.array([0, 0, 1, 1, 1]), 2, 4, 0).indices(0, 8)
    assert set(np.bincount(few, minlength=5)[:2]) == {2}  # repeated evenly


def test_pk_seeds_differ_and_too_few_persons_are_refused() -> None:
    labels = np.repeat(np.arange(20), 5)
    first, second = (PKSampler(labels, 4, 3, seed).indices(0, 60) for seed in (1, 2))
    assert (first != second).any()
    with pytest.raises(UserError, match="4 persons x 2 images"):
        PKSampler(np.array([0, 1, 2]), 4, 2, 0)
