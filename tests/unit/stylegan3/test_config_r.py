"""Config R against a straightforward one: zeros inserted, one 2-D filter, weights per sample."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import j1
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu, pad

from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.filters import design_radial_lowpass
from lookalike.stylegan3.generator import Generator, SynthesisLayer

CONFIG = GeneratorConfig(
    32, 16, z_dim=4, w_dim=4, channel_base=128, channel_max=6, num_layers=5, margin=3, radial=True
)


def kaiser(taps: int, half_width: float, rate: float) -> list[float]:
    """The window whose shape gives `taps` this transition band (Kaiser's formulas)."""
    attenuation = 2.285 * (taps - 1) * math.pi * (2 * half_width / (rate / 2)) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    places = [2 * n / (taps - 1) - 1 for n in range(taps)]
    return [float(np.i0(beta * math.sqrt(1 - x * x)) / np.i0(beta)) for x in places]


def separable(taps: int, cutoff: float, half_width: float, rate: float) -> Tensor:
    """sin(2 pi fc x) / (pi x) under the window along each axis, [taps, taps]."""
    window = kaiser(taps, half_width, rate)
    x = [(n - (taps - 1) / 2) / rate for n in range(taps)]
    line = torch.tensor(
        [math.sin(2 * math.pi * cutoff * a) / (math.pi * a) * b for a, b in zip(x, window)],  # noqa: B905
        dtype=torch.double,
    )
    return torch.outer(line, line) / line.sum() ** 2


def radial(taps: int, cutoff: float, half_width: float, rate: float) -> Tensor:
    """J1(2 pi fc r) / (pi r) under the window along each axis, [taps, taps]."""
    window = kaiser(taps, half_width, rate)
    kernel = torch.empty(taps, taps, dtype=torch.double)
    for i in range(taps):
        for j in range(taps):
            r = math.hypot(i - (taps - 1) / 2, j - (taps - 1) / 2) / rate
            value = float(j1(2 * math.pi * cutoff * r)) / (math.pi * r)
            kernel[i, j] = value * window[i] * window[j]
    return kernel / kernel.sum()


def filtered(planes: Tensor, kernel: Tensor) -> Tensor:
    """Every channel of [N, C, H, W] convolved with the kernel, valid."""
    weight = kernel.flip(0, 1).expand(planes.shape[1], 1, -1, -1)
    return conv2d(planes, weight, groups=planes.shape[1])


def straightforward(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """One layer as the paper has it (section 3.2, figure 4b, appendix C)."""
    design, count = layer.design, len(x)
    weight = layer.weight[:, :, 0, 0]
    style = w @ layer.affine.weight.T / w.shape[1] ** 0.5 + layer.affine.bias
    if design.is_torgb:
        own = weight * style[:, None] / weight.shape[1] ** 0.5
    else:
        own = weight * style[:, None]
        own = own / own.square().sum(2, keepdim=True).sqrt()
    own = own / layer.magnitude_ema.sqrt()
    height, width = x.shape[2:]
    grouped = x.reshape(1, -1, height, width)
    y = conv2d(grouped, own.flatten(0, 1)[:, :, None, None], groups=count)
    y = y.view(count, -1, height, width) + layer.bias[:, None, None]
    if design.is_torgb:
        return y
    up, down, rate = design.up_factor, design.down_factor, design.tmp_sampling_rate
    zeros = y.new_zeros(count, y.shape[1], height * up, width * up)
    zeros[:, :, ::up, ::up] = y
    filters = separable(design.up_taps, design.in_cutoff, design.in_half_width, rate)
    y = filtered(pad(zeros, design.padding), filters) * up**2
    y = (leaky_relu(y, 0.2) * 2**0.5).clamp(-256, 256)
    if design.down_taps > 1:
        make = separable if design.is_critically_sampled else radial
        y = filtered(y, make(design.down_taps, design.out_cutoff, design.out_half_width, rate))
    return y[:, :, ::down, ::down]


def test_images_and_gradients_equal_the_straightforward_ones() -> None:
    torch.manual_seed(0)
    generator = Generator(CONFIG).double()
    for layer in generator.synthesis.layers:
        torch.nn.init.normal_(layer.bias)
        torch.nn.init.uniform_(layer.magnitude_ema, 0.5, 2.0)
    ws = torch.randn(2, generator.num_ws, 4, dtype=torch.double, requires_grad=True)
    leaves = [ws, *generator.synthesis.parameters()]
    projection = torch.randn(2, 3, 32, 16, dtype=torch.double)

    ours = generator.synthesis(ws)
    x = generator.synthesis.input(ws[:, 0])
    for layer, w in zip(generator.synthesis.layers, ws.unbind(1)[1:], strict=True):
        x = straightforward(layer, x, w)
    reference = x * 0.25
    assert {layer.design.up_factor for layer in generator.synthesis.layers} >= {2, 4}
    assert any(layer.design.radial_down_filter for layer in generator.synthesis.layers)
    torch.testing.assert_close(ours, reference, rtol=0, atol=float(reference.detach().std()) * 1e-5)
    gradients = [
        torch.autograd.grad((images * projection).sum(), leaves) for images in (ours, reference)
    ]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=float(theirs.abs().max()) * 1e-5)


@pytest.mark.parametrize(("taps", "cutoff", "half_width"), [(12, 4.0, 4.0), (24, 6.5, 1.25)])
def test_the_radial_filter_is_the_windowed_jinc(
    taps: int, cutoff: float, half_width: float
) -> None:
    ours = design_radial_lowpass(taps, cutoff, half_width, 32.0)
    np.testing.assert_allclose(ours, radial(taps, cutoff, half_width, 32.0), rtol=1e-10, atol=1e-15)
