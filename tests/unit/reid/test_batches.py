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


@pytest.mark.parametrize(("share", "generated"), [(0.25, 3), (0.4, 5), (0.75, 24)])
def test_generated_images_stand_beside_the_real_ones(
    eights: ReidConfig, share: float, generated: int
) -> None:
    alone, mixed = batches(eights, made=0), batches(eights, batch_share=share)
    assert (mixed.epoch, mixed.size) == (alone.epoch, alone.size) == (REAL, 16)
    steps = 30
    for numbers, real in zip(drawn(mixed, steps), drawn(alone, steps), strict=True):
        assert numbers.shape == (2, 8 + generated)
        np.testing.assert_array_equal(numbers[:, :8], real, "as without, and first")
        assert (numbers[:, 8:] >= REAL).all()
    counts = np.bincount(np.concatenate(drawn(mixed, steps)).ravel())
    assert np.ptp(counts[REAL:]) <= 1


def test_generated_images_take_part_in_their_window(eights: ReidConfig) -> None:
    alone = batches(eights, made=0)
    always, window = (batches(eights, batch_share=0.25, epochs=epochs) for epochs in (None, [1, 3]))
    # One and a half batches an epoch: from the second one to the fifth.
    for step, numbers in enumerate(drawn(window, 6)):
        real = alone.numbers(step * alone.size)
        if 2 <= step < 5:
            real = np.hstack([real, always.numbers((step - 2) * always.size)[:, 8:]])
        np.testing.assert_array_equal(numbers, real)


@pytest.mark.parametrize("label", ["person", "own", "uniform"])
def test_pk_draws_whole_persons_on_either_side(eights: ReidConfig, label: str) -> None:
    pk = eights.model_copy(update={"images_per_person": 2, "batch_size": 8})
    mixed = batches(pk, batch_share=0.3, label=label)
    assert [part.size for part in mixed.parts] == [8, 4]  # in whole persons
    for numbers in drawn(mixed, 12):
        for part in (numbers[:, :8], numbers[:, 8:]):
            persons = np.array(PERSONS)[part].reshape(-1, 2)
            whole = (persons[:, 0] == persons[:, 1]).all()
            assert whole or (label == "uniform" and (part >= REAL).all())


def test_what_is_read(eights: ReidConfig) -> None:
    mixed = batches(eights, batch_share=0.25, label="uniform", weight=0.5, own_statistics=True)
    (second,) = mixed.read(0, [1])
    numbers = mixed.numbers(0)[1]
    assert second.images[:, 0, 0, 0].tolist() == numbers.tolist()
    assert second.labels.tolist() == [n % 6 for n in numbers[:8]] + [-1, -1, -1]
    assert second.generated is not None and second.generated.tolist() == [False] * 8 + [True] * 3
    assert second.distributions is not None and second.distributions.shape == (11, 6)
    assert (second.apart, second.unlabelled) == (3, True)
    moved = second.to(torch.device("cpu"))
    assert moved.apart == 3 and torch.equal(moved.labels, second.labels)
    plain = batches(eights).read(0, [0])[0]
    assert plain.generated is plain.distributions is None and not plain.unlabelled


def test_a_share_of_nothing_is_refused(eights: ReidConfig) -> None:
    with pytest.raises(UserError, match="there are 24 and 0"):
        batches(eights, made=0, batch_share=0.25)
