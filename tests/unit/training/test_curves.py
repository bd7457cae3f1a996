"""Sums on the device: means, gradient norms, and what fp16 skips."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lookalike.training.curves import Curves
from lookalike.training.session import Session


@pytest.fixture
def curves() -> Curves:
    return Curves(Session(1))


def with_gradients(*gradients: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    return [*parameters, nn.Parameter(torch.zeros(1))]  # a frozen one has none


def test_each_curve_is_a_mean_over_its_own_numbers(curves: Curves) -> None:
    assert curves.read().values() == {}
    for value in (1.0, 2.0, 6.0):
        curves.add(loss=torch.tensor(value, dtype=torch.bfloat16, requires_grad=True))
    curves.add(rare=torch.tensor(5.0))
    assert curves.read().values() == {"loss": 3.0, "rare": 5.0}
    saved = curves.state_dict()
    curves.clear()
    assert curves.read().values() == {}
    curves.load_state_dict(saved)
    curves.add(loss=torch.tensor(3.0))
    assert curves.read().values() == {"loss": 3.0, "rare": 5.0}


def test_the_norm_is_of_all_gradients_together(curves: Curves) -> None:
    curves.add_gradient_norm(with_gradients([2.0, 3.0], [6.0]))
    curves.add_gradient_norm(with_gradients([1.0]))
    curves.add_gradient_norm(with_gradients(), "none")
    assert curves.read().values() == {"gradient_norm": 4.0}


def test_a_step_that_fp16_skips_has_no_norm(curves: Curves) -> None:
    session = Session(1)
    session.precision = "fp16"
    scaler = session.loss_scaler()
    scaler.scale(torch.ones([]))  # it begins with 65536
    for gradient in (65536 * 3.0, math.inf, 65536 * 5.0):
        curves.add_gradient_norm(with_gradients([gradient]), scaler=scaler)
    assert curves.read().values() == {"gradient_norm": 4.0}
    curves.clear()
    curves.add_gradient_norm(with_gradients([math.nan]), scaler=scaler)
    assert curves.read().values() == {}, "no number at all"
