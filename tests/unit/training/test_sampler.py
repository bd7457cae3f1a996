"""The sampler: whole epochs, the same position always the same image."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.training.sampler import ShuffledSampler

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
