from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from lookalike.data.loading import Images, to_tensor
from lookalike.inversion.codes import CodeEncoder, CodeNetwork
from lookalike.inversion.folding import bring_to_w, fit_mapping, fold, read_codes, sliced_distance
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.generator import Generator


@pytest.fixture
def conditional(tiny_generator: Callable[..., Generator]) -> Generator:
    return tiny_generator(0, Classes("camera", ("1", "2"), (4, 4)))


@pytest.fixture
def many() -> Images:
    return np.random.default_rng(0).integers(0, 256, (64, 32, 16, 3), dtype=np.uint8)


@pytest.fixture
def network(generator: Generator) -> CodeNetwork:
    """With heads that read few things, as those of a trained one do."""
    torch.manual_seed(3)
    network = CodeNetwork(32, 16, 8, generator.num_ws, generator.config.w_dim, 2)
    few = torch.randn(3, network.head_weight.shape[1], 4)
    for heads, shared in ((slice(0, 2), few[0]), (slice(2, None), few[1])):
        spread = torch.randn(len(network.head_weight[heads]), 4, generator.config.w_dim)
        network.head_weight.data[heads] = shared @ spread
    torch.nn.init.normal_(network.head_bias)
    return network.requires_grad_(False)


def test_folded_networks_draw_the_same_and_from_one_w_per_code(
    generator: Generator, network: CodeNetwork, many: Images
) -> None:
    before = CodeEncoder(copy.deepcopy(network), copy.deepcopy(generator))
    x = to_tensor(many[:8])
    expected = before.generator.synthesis(before.invert(x))
    kept = fold(generator, network, read_codes(network, many))
    assert kept == pytest.approx((1, 1), abs=1e-4)
    after = CodeEncoder(network, generator)
    ws = after.invert(x)
    drawn = generator.synthesis(ws)
    assert (drawn - expected).abs().max() < 0.01 * (expected.max() - expected.min())
    assert (ws[:, :2] - ws[:, :1]).abs().max() < 1e-4
    assert (ws[:, 2:] - ws[:, 2:3]).abs().max() < 1e-4
    codes = read_codes(network, many)[1][:, 0]
    assert codes.mean(0).abs().max() < 1e-3
    spread = codes.std(0)  # whitened: of unit variance, or there is no such component
    assert ((spread - 1).abs() < 0.01).sum() == 4


def test_a_mapping_is_fitted_to_each_class(conditional: Generator) -> None:
    """Structures of class 1 lie apart from those of class 0; appearances do not know classes."""
    torch.manual_seed(0)
    labels = torch.arange(512) % 2
    structures = torch.randn(512, 8) + 3 * labels[:, None]
    appearances = torch.randn(512, 8) + 1.5
    codes = structures, appearances
    start = fit_mapping(conditional, codes, labels, steps=1, rate=0.1)
    end = fit_mapping(conditional, codes, labels, steps=200, rate=0.1)
    assert end < 0.7 * start
    z = torch.randn(256, 8)
    means = [
        conditional.mapping(z, labels=torch.full((256,), label))[:, 0].mean() for label in (0, 1)
    ]
    assert means[1] - means[0] > 0.4
    assert not any(p.requires_grad for p in conditional.parameters())


def test_codes_stay_where_they_are_seen_from_the_mean(
    conditional: Generator, many: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike.inversion.folding.STEPS", 20)
    torch.manual_seed(3)
    network = CodeNetwork(32, 16, 8, conditional.num_ws, conditional.config.w_dim, 2)
    torch.nn.init.normal_(network.head_weight)
    network.requires_grad_(False)
    bring_to_w(conditional, network, many, np.arange(64) % 2)
    ws = CodeEncoder(network, conditional).invert(to_tensor(many))
    assert ws.mean((0, 1)).abs().max() < 0.2  # whitened, whatever w_avg has become


def test_sliced_distance_is_that_of_distributions() -> None:
    torch.manual_seed(0)
    a, labels = torch.randn(64, 8), torch.arange(64) % 2
    assert sliced_distance(a, a[torch.randperm(64)], None).item() == pytest.approx(0, abs=1e-10)
    # A shift by d moves each projection by d times a cosine, whose square is 1/8 on average.
    shift = sliced_distance(a, a + torch.tensor([4.0] + [0.0] * 7), None)
    assert shift.item() == pytest.approx(16 / 8, rel=0.5)
    # The same vectors under other labels are another joint distribution.
    a[labels == 1] += 3
    swapped = torch.cat([a[1:], a[:1]])
    assert sliced_distance(a, swapped, None).item() == pytest.approx(0, abs=1e-10)
    assert sliced_distance(a, swapped, labels).item() > 1
