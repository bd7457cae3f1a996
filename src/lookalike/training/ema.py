"""Exponential moving average of weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, source: nn.Module, beta: float) -> None:
    """average <- lerp(source, average, beta) for parameters; buffers are copied."""
    for mean, value in zip(average.parameters(), source.parameters(), strict=True):
        mean.lerp_(value, 1 - beta)
    for kept, current in zip(average.buffers(), source.buffers(), strict=True):
        kept.copy_(current)


def half_life_beta(batch_size: int, images_seen: int, half_life: float, ramp_up: float) -> float:
    """Decay for a half-life in images (Karras et al. 2020, ADA), shorter while ramping up.

    `ramp_up` is the fraction of the images seen that bounds the half-life; 0 switches it off.
    """
    if ramp_up > 0:
        half_life = min(half_life, images_seen * ramp_up)
    return float(0.5 ** (batch_size / max(half_life, 1e-8)))
