"""Running statistics of batch norm, moved once per global batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


def with_one_update(module: nn.Module, micro_batches: Sequence[T]) -> Iterator[T]:
    """Yield the micro-batches, and make one update of the running statistics of them all.

    Batch norm applies its momentum in every forward pass: once per micro-batch, so the statistics
    would depend on how many of them a process has. The update is linear in what was measured. So
    each micro-batch updates the same old values, and the mean of the results is the update by the
    mean of the micro-batches' means and variances. By the same argument the processes' statistics
    may be averaged at any later step (`Session.average_buffers`).

    A single micro-batch costs nothing and changes no bit.
    """
    if len(micro_batches) == 1:
        yield from micro_batches
        return
    statistics, counters = _buffers(module)
    before = [buffer.clone() for buffer in statistics]
    counted = [counter.clone() for counter in counters]
    moved: list[Tensor] = [torch.zeros_like(buffer) for buffer in statistics]
    for micro_batch in micro_batches:
        for counter, count in zip(counters, counted, strict=True):
            counter.copy_(count)
        yield micro_batch
        # Of movements, so that statistics of frozen layers keep their bits.
        torch._foreach_add_(moved, torch._foreach_sub(statistics, before))
        torch._foreach_copy_(statistics, before)
    torch._foreach_add_(statistics, torch._foreach_div(moved, float(len(micro_batches))))


@contextmanager
def without_update(module: nn.Module) -> Iterator[None]:
    """Normalise by batch statistics as while training, and leave the running ones as they are."""
    norms = _norms(module)
    momenta, counters = [norm.momentum for norm in norms], _buffers(module)[1]
    counted = [counter.clone() for counter in counters]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for counter, count in zip(counters, counted, strict=True):
            counter.copy_(count)


def _norms(module: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    return [m for m in module.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]


def _buffers(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Means and variances, and the counters of updates."""
    buffers = [buffer for norm in _norms(module) for buffer in norm.buffers()]
    return (
        [buffer for buffer in buffers if buffer.is_floating_point()],
        [buffer for buffer in buffers if not buffer.is_floating_point()],
    )
