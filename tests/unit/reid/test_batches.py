"""Batches: exact shares, reals in the same order with and without generated images, windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lookalike.config import ArmPolicy, ReidConfig
from lookalike.errors import UserError
from lookalike.reid.batches import Batches
from lookalike.reid.targets import Targets

REAL, MADE = 24, 10
PERSONS = [f"{n % 6:04}" for n in range(REAL)] + [f"{n % 4:04}" for n in range(MADE)]


@pytest.fixture
def eights(config: ReidConfig) -> ReidConfig:
    """Two micro-batches of eight."""
    return config.model_copy(update={"batch_size": 16, "micro_batch": 8, "epochs": 4})


def batches(config: ReidConfig, made: int = MADE, **policy: Any) -> Batches:
    count = REAL + made
    generated = np.arange(count) >= REAL
    arm = ArmPolicy.model_validate(policy)
    arm.check(config)
    images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    targets = Targets(PERSONS[:count], generated, arm)
    return Batches(config, images, targets, arm, seed=1, device=torch.device("cpu"))


def drawn(made: Batches, count: int) -> list[np.ndarray]:
    return [made.numbers(n * made.size) for n in range(count)]


def test_a_pool_takes_images_as_they_come(eights: ReidConfig) -> None:
    pool = batches(eights)
    assert (pool.epoch, pool.size) == (REAL + MADE, 16)
    seen = np.concatenate(drawn(pool, 17)).ravel()
    assert (np.bincount(seen) == 17 * 16 // 34).all()


@pytest.mark.parametrize(("share", "generated"), [(0.25, 2), (0.4, 3), (0.75, 6)])
def test_each_micro_batch_has_its_share(eights: ReidConfig, share: float, generated: int) -> None:
    mixed = batches(eights, batch_share=share)
    real = 8 - generated
    assert (mixed.epoch, mixed.size) == (REAL, 16)
    steps = REAL * real  # whole passes over the real images
    for numbers in drawn(mixed, steps):
        assert numbers.shape == (2, 8)
        assert ((numbers >= REAL).sum(axis=1) == generated).all()
        assert (numbers[:, :real] < REAL).all()  # the real ones first
    everything = np.concatenate(drawn(mixed, steps)).ravel()
    counts = np.bincount(everything)
    assert (counts[:REAL] == 2 * real * steps // REAL).all()
    assert np.ptp(counts[REAL:]) <= 1


def test_outside_the_window_real_images_fill_the_batches(eights: ReidConfig) -> None:
    alone = batches(eights, made=0)
    window = batches(eights, batch_share=0.25, epochs=[1, 3])
    rows = [window.numbers(start) for start in range(0, 4 * REAL, window.size)]
    # One and a half batches an epoch: from the second one to the fifth.
    shares = [(numbers >= REAL).sum(axis=1).tolist() for numbers in rows]
    assert shares == [[0, 0], [0, 0], [2, 2], [2, 2], [2, 2], [0, 0]]
    outside = [rows[n] for n in (0, 1, 5)]
    for numbers, start in zip(outside, range(0, 3 * alone.size, alone.size), strict=True):
        np.testing.assert_array_equal(numbers, alone.numbers(start))
    inside = np.concatenate(rows[2:5])[:, :6].ravel()
    assert np.ptp(np.bincount(inside)) <= 1, "a pass over the real ones"


@pytest.mark.parametrize("label", ["person", "own", "uniform"])
def test_pk_draws_whole_persons_on_either_side(eights: ReidConfig, label: str) -> None:
    pk = eights.model_copy(update={"images_per_person": 2})
    mixed = batches(pk, batch_share=0.4, label=label)
    assert [part.size for part in mixed.mixed] == [4, 4]  # in whole persons
    for numbers in drawn(mixed, 12):
        for part in (numbers[:, :4], numbers[:, 4:]):
            persons = np.array(PERSONS)[part].reshape(-1, 2)
            whole = (persons[:, 0] == persons[:, 1]).all()
            assert whole or (label == "uniform" and (part >= REAL).all())


def test_what_is_read(eights: ReidConfig) -> None:
    mixed = batches(eights, batch_share=0.25, label="uniform", weight=0.5, own_statistics=True)
    (second,) = mixed.read(0, [1])
    numbers = mixed.numbers(0)[1]
    assert second.images[:, 0, 0, 0].tolist() == numbers.tolist()
    assert second.labels.tolist() == [n % 6 for n in numbers[:6]] + [-1, -1]
    assert second.generated is not None and second.generated.tolist() == [False] * 6 + [True] * 2
    assert second.distributions is not None and second.distributions.shape == (8, 6)
    assert (second.apart, second.unlabelled) == (2, True)
    moved = second.to(torch.device("cpu"))
    assert moved.apart == 2 and torch.equal(moved.labels, second.labels)
    plain = batches(eights).read(0, [0])[0]
    assert plain.generated is plain.distributions is None and not plain.unlabelled


def test_a_share_of_nothing_is_refused(eights: ReidConfig) -> None:
    with pytest.raises(UserError, match="there are 24 and 0"):
        batches(eights, made=0, batch_share=0.25)
