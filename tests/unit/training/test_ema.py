"""Averaged weights and their half-life."""

import pytest
import torch
from torch import nn

from lookalike.training.ema import half_life_beta, update_average


def filled(value: float) -> nn.BatchNorm1d:
    module = nn.BatchNorm1d(3)
    for tensor in module.state_dict().values():
        tensor.fill_(value)
    return module


def test_parameters_are_averaged_and_buffers_copied() -> None:
    average, source = filled(0.0), filled(4.0)
    update_average(average, source, 0.75)
    assert average.weight.tolist() == [1, 1, 1]
    assert average.bias.tolist() == [1, 1, 1]
    assert average.running_mean is not None
    assert average.running_mean.tolist() == [4, 4, 4]
    assert average.num_batches_tracked == 4
    assert torch.equal(source.weight, torch.full((3,), 4.0))


def test_half_of_the_old_is_left_after_a_half_life() -> None:
    beta = half_life_beta(8, 10**9, half_life=800, ramp_up=0.05)
    assert beta**100 == pytest.approx(0.5)


def test_ramp_up_forgets_faster_in_the_beginning() -> None:
    # At 1000 images a ramp-up of 0.05 bounds the half-life by 50 images.
    assert half_life_beta(50, 1000, half_life=800, ramp_up=0.05) == pytest.approx(0.5)
    assert half_life_beta(50, 1000, half_life=800, ramp_up=0) == pytest.approx(0.5 ** (1 / 16))
    assert half_life_beta(8, 0, half_life=800, ramp_up=0.05) == 0
