"""Shards, seeds, averaged gradients and digests."""

from __future__ import annotations

import hashlib
import math

import pytest
import torch
from torch import nn

from lookalike.errors import UserError
from lookalike.training.session import Session, derive_seed, state_digest, steps_for


@pytest.fixture
def session() -> Session:
    return Session(seed=1)


def test_alone(session: Session) -> None:
    assert (session.rank, session.world, session.is_main) == (0, 1, True)
    assert session.shard(8, 2) == range(4)
    assert session.shard(8, 8) == range(1)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_shards_cover_the_batch_once(session: Session, world: int) -> None:
    session.world = world
    numbers: list[int] = []
    for session.rank in range(world):
        numbers += session.shard(16, 4)
    assert numbers == [0, 1, 2, 3]


@pytest.mark.parametrize(("batch", "micro", "world"), [(10, 4, 1), (12, 4, 2), (4, 8, 1)])
def test_uneven_batches_are_refused(session: Session, batch: int, micro: int, world: int) -> None:
    session.world = world
    with pytest.raises(UserError, match=f"batch_size {batch} must be a multiple .*{micro}"):
        session.shard(batch, micro)


def test_steps_have_their_own_reproducible_noise(session: Session) -> None:
    def noise(*step: object) -> list[float]:
        session.seed_step(*step)  # type: ignore[arg-type]
        return torch.rand(4).tolist()

    expected = noise(320, 1, "r1")
    torch.rand(3)
    assert noise(320, 1, "r1") == expected
    for other in ((321, 1, "r1"), (320, 2, "r1"), (320, 1, "generator")):
        assert noise(*other) != expected
    session.seed = 2
    assert noise(320, 1, "r1") != expected


def test_gradients_become_their_mean(session: Session) -> None:
    a, b, untouched = (nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), (3,), (1,)))
    a.grad = torch.tensor([[2.0, 4.0], [6.0, 8.0]])
    b.grad = torch.tensor([math.nan, math.inf, -math.inf])
    session.average_gradients([a, untouched, b], micro_batches=2)
    assert a.grad.tolist() == [[1, 2], [3, 4]]
    assert b.grad.tolist() == [0, 1e5, -1e5]
    assert untouched.grad is None
    session.average_gradients([untouched], micro_batches=2)  # nothing to do


def test_derived_seeds_are_the_same_everywhere() -> None:
    assert derive_seed(1, 320, 0, "r1") == 5386388832795647636
    digest = hashlib.sha256(b"1/epoch/3").hexdigest()
    assert derive_seed(1, "epoch", 3) == int(digest[:16], 16) >> 1
    assert 0 <= derive_seed("x") < 2**63


def test_digest_sees_every_difference() -> None:
    state = {"w": torch.zeros(2, 3), "n": torch.tensor(1)}
    digest = state_digest(state)
    assert state_digest({"n": torch.tensor(1), "w": torch.zeros(2, 3)}) == digest
    changed = torch.zeros(2, 3)
    changed[1, 2] = -0.0  # equal as a number, another bit
    for other in (
        {**state, "w": changed},
        {**state, "w": torch.zeros(3, 2)},
        {**state, "w": torch.zeros(2, 3, dtype=torch.int32)},
        {"v": state["w"], "n": state["n"]},
        {"w": state["w"]},
    ):
        assert state_digest(other) != digest


def test_steps_for() -> None:
    assert [steps_for(images, 8) for images in (0, 1, 8, 9)] == [1, 1, 1, 2]
