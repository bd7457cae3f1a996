"""Running statistics move once per global batch, by the mean over its micro-batches."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lookalike.reid.model import InstanceBatchNorm
from lookalike.training.statistics import with_one_update, without_update


def batches(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 4, 3, 2, generator=generator) * (i + 1) + i for i in range(count)]


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, InstanceBatchNorm])
def test_one_update_by_the_mean(kind: type[nn.BatchNorm2d]) -> None:
    norm, parts = kind(4).train(), batches(3)
    norm(torch.randn(4, 4, 3, 2) + 5)  # statistics that are not the initial ones
    before = copy.deepcopy(norm)
    assert before.running_mean is not None and before.running_var is not None
    for part in with_one_update(norm, parts):
        norm(part)
    batched = slice(2 if kind is InstanceBatchNorm else 0, None)
    means = torch.stack([p.mean((0, 2, 3)) for p in parts]).mean(0)
    variances = torch.stack([p.var((0, 2, 3)) for p in parts]).mean(0)
    for actual, old, measured in (
        (norm.running_mean, before.running_mean, means),
        (norm.running_var, before.running_var, variances),
    ):
        assert actual is not None
        expected = old.clone()
        expected[batched] = 0.9 * old[batched] + 0.1 * measured[batched]
        torch.testing.assert_close(actual, expected)
    assert norm.num_batches_tracked is not None and before.num_batches_tracked is not None
    counted = int(norm.num_batches_tracked) - int(before.num_batches_tracked)
    assert counted == (0 if kind is InstanceBatchNorm else 1)


def test_a_single_micro_batch_changes_no_bit() -> None:
    plain, ours = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    (part,) = batches(1)
    plain(part)
    for only in with_one_update(ours, [part]):
        ours(only)
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), ours.buffers(), strict=True))


def test_frozen_statistics_keep_their_bits() -> None:
    norm = nn.BatchNorm2d(4)
    norm(torch.randn(4, 4, 3, 2))
    before = copy.deepcopy(norm)
    for part in with_one_update(norm.eval(), batches(3)):
        norm(part)
    assert all(torch.equal(a, b) for a, b in zip(before.buffers(), norm.buffers(), strict=True))


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, InstanceBatchNorm])
def test_images_apart_are_normalised_and_move_nothing(kind: type[nn.BatchNorm2d]) -> None:
    norm, (part,) = kind(4).train(), batches(1)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with without_update(norm):
        normalised = norm(part)
    for name, buffer in norm.named_buffers():
        assert torch.equal(buffer, before[name]), name
    torch.testing.assert_close(norm(part), normalised)  # by its own statistics, as ever
    assert not torch.equal(norm.running_mean, before["running_mean"])  # type: ignore[arg-type]
