"""Shards, seeds, averaged gradients and digests."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from lookalike.errors import UserError
from lookalike.training.session import Session, state_digest, steps_for


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


@pytest.mark.parametrize(
    ("batch", "micro", "world", "advice"),
    [
        (64, 64, 8, "set micro_batch to 8 or a divisor of it, or batch_size to 512"),
        (12, 4, 8, "set batch_size to 32"),
    ],
)
def test_a_batch_that_does_not_divide_says_how_to_mend_it(
    session: Session, batch: int, micro: int, world: int, advice: str
) -> None:
    session.world = world
    with pytest.raises(UserError, match=f"{advice}$"):
        session.shard(batch, micro)


def test_fp16_without_a_gpu_is_refused_in_one_line(session: Session) -> None:
    if session.device.type != "cpu":
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=r"^precision: fp16 needs a GPU, .* to bf16 or fp32$"):
        Session(seed=1, precision="fp16")


def test_an_overflow_skips_the_step_and_halves_the_scale(session: Session) -> None:
    session.precision = "fp16"
    scaler, weight = session.loss_scaler(), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scales = []
    for factor in (1.0, math.inf, 2.0):
        optimizer.zero_grad()
        scaler.scale((weight * torch.tensor([1.0, factor])).sum()).backward()
        session.average_gradients([weight], 1, scaled=scaler.is_enabled())
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    assert weight.tolist() == [0.0, -0.5]  # the first step and the third
    assert scales == [65536, 32768, 32768]
    session.precision = "bf16"
    assert not session.loss_scaler().is_enabled()


def test_replicas_that_differ_are_named(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    network, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2)).sum().backward()
    optimizer.step()
    moments = optimizer.state_dict()
    elsewhere = {"optimizer": copy.deepcopy(moments), "network": network.state_dict()}

    def gather(mine: list[dict[str, str]]) -> list[dict[str, str]]:
        return [*mine, {name: state_digest(state) for name, state in elsewhere.items()}]

    monkeypatch.setattr("lookalike.training.session.gather_object", gather)
    session.world = 2
    session.check_replicas(network=network, optimizer=optimizer)
    elsewhere["optimizer"]["state"][0]["exp_avg"][0, 1] += 1e-3
    with pytest.raises(UserError, match="different states of optimizer; nothing was saved"):
        session.check_replicas(network=network, optimizer=optimizer)
    elsewhere["network"] = other.state_dict()
    with pytest.raises(UserError, match="different states of network, optimizer;"):
        session.check_replicas(network=network, optimizer=optimizer)


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
        {**state, "n": 1},
        {**state, "nested": {"p": 0.5}},
    ):
        assert state_digest(other) != digest


def test_steps_for() -> None:
    assert [steps_for(images, 8) for images in (0, 1, 8, 9)] == [1, 1, 1, 2]
