"""Warps: exact for whole pixels, equal to the long way, differentiable twice."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lookalike.stylegan3.warp import CENTRE, SYM6, Warp, bilinear_lookup

SIDES = st.integers(1, 20)


def affine(rows: list[list[float]], count: int = 1) -> Tensor:
    return torch.tensor([*rows, [0, 0, 1]], dtype=torch.double).expand(count, 3, 3)


def turn(angle: float, factor: float = 1, x: float = 0, y: float = 0) -> Tensor:
    """Output to input positions: rotated, scaled, moved."""
    sin, cos = math.sin(angle) * factor, math.cos(angle) * factor
    return affine([[cos, -sin, x], [sin, cos, y]])


def test_the_filter_is_sym6() -> None:
    taps = torch.from_numpy(SYM6)
    for shift in range(0, 12, 2):  # orthonormal to its even shifts
        product = (taps[shift:] * taps[: 12 - shift]).sum()
        assert float(product) == pytest.approx(float(shift == 0), abs=1e-11)
    k = torch.arange(12, dtype=torch.double)
    for power in range(6):  # six vanishing moments
        assert abs(float(((-1) ** k * k**power * taps).sum())) < 1e-8
    # Of the filters with these properties, the one whose delay is nearest to the middle.
    assert float((k * taps).sum() / taps.sum()) == pytest.approx(5.0983, abs=1e-4)


@settings(deadline=None, max_examples=25)
@given(SIDES, SIDES, st.data())
def test_whole_pixels_move_exactly(height: int, width: int, data: st.DataObject) -> None:
    """Like rolling the image after reflecting it at its borders, without repeating them."""
    x, y = (data.draw(st.integers(-round(n / 8), round(n / 8))) for n in (width, height))
    images = torch.randn(2, 3, height, width)
    moved = Warp(height, width, margin=0.125)(images, turn(0, x=-x, y=-y).expand(2, 3, 3))
    padding = (abs(x), abs(x), abs(y), abs(y))
    rolled = nn.functional.pad(images, padding, mode="reflect").roll((y, x), (2, 3))
    expected = rolled[:, :, abs(y) : abs(y) + height, abs(x) : abs(x) + width]
    torch.testing.assert_close(moved, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("inverse", [turn(0.05, 0.98, 0.3, -0.6), turn(-0.1), turn(0, 1.04)])
def test_small_moves_equal_the_long_way(inverse: Tensor) -> None:
    """Pad, insert zeros, filter; sample; filter, decimate: with PyTorch's own operations."""
    pad, height, width = 7, 16, 12
    images = torch.randn(1, 3, height, width, dtype=torch.double)
    taps = torch.from_numpy(SYM6).expand(3, 1, 1, 12)
    padded = nn.functional.pad(images, (pad,) * 4, mode="reflect")
    fine = padded
    for kernel, stride in ((taps, (1, 2)), (taps.mT, (2, 1))):
        fine = nn.functional.conv_transpose2d(fine, kernel * 2**0.5, stride=stride, groups=3)
    # Sample i of `fine` lies at pixel (i - CENTRE) / 2 - pad.
    y, x = ((torch.arange(2 * n + 10) - CENTRE) / 2 - (n - 1) / 2 for n in (height, width))
    rows, columns = torch.meshgrid(y.double(), x.double(), indexing="ij")
    where = torch.stack([columns, rows, torch.ones_like(rows)], 2) @ inverse[0, :2].T
    sizes = torch.tensor([width, height])
    index = 2 * (where + (sizes - 1) / 2 + pad) + CENTRE
    grid = 2 * index / (torch.tensor([fine.shape[3], fine.shape[2]]) - 1) - 1
    expected = nn.functional.grid_sample(fine, grid[None], align_corners=True)
    for kernel, stride in ((taps, (1, 2)), (taps.mT, (2, 1))):
        expected = nn.functional.conv2d(expected, kernel / 2**0.5, stride=stride, groups=3)
    warp = Warp(height, width, margin=0.125).double()
    torch.testing.assert_close(warp(images, inverse), expected, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(SIDES, SIDES, st.floats(-4, 4), st.floats(0.3, 4), st.floats(-99, 99), st.floats(-99, 99))
def test_reflections_never_end(
    height: int, width: int, angle: float, factor: float, x: float, y: float
) -> None:
    """However far the image is moved, only its own pixels are seen: a flat one stays flat."""
    flat = torch.tensor([0.5, -1, 0.1]).view(1, 3, 1, 1).expand(1, 3, height, width)
    warped = Warp(height, width)(flat, turn(angle, factor, x, y))
    torch.testing.assert_close(warped, flat, rtol=0, atol=1e-4)


def test_an_image_far_away_is_mirrored() -> None:
    """Moved by its period, 2 (size - 1), a smooth image is where it was; by half, mirrored.

    To a tenth of a pixel: the filter is not quite symmetric.
    """
    across, down = torch.arange(32) * (math.pi / 31), torch.arange(16) * (math.pi / 15)
    images = (down.cos()[:, None] + (2 * across).cos() + across.cos()).expand(1, 3, 16, 32)
    warp = Warp(16, 32)
    there = warp(images, turn(0, x=62, y=-30))
    torch.testing.assert_close(there, images, rtol=0, atol=0.04)
    half = warp(images, turn(0, x=-31, y=0))
    torch.testing.assert_close(half, images.flip(3), rtol=0, atol=0.04)


def test_second_derivatives() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 2, 5, 4, dtype=torch.double, requires_grad=True)
    grid = torch.rand(2, 3, 6, 2, dtype=torch.double) * 2.4 - 1.2  # partly outside

    def curved(x: Tensor) -> Tensor:  # a lookup alone has no second derivative
        return bilinear_lookup(x**3, grid) ** 2

    torch.testing.assert_close(
        bilinear_lookup(images, grid),
        nn.functional.grid_sample(images, grid, align_corners=True),
    )
    assert torch.autograd.gradcheck(curved, images)
    assert torch.autograd.gradgradcheck(curved, images)
    warp = Warp(5, 4).double()
    inverse = torch.cat([turn(0.7, 1.3, 2.2, -0.4), turn(-2, 0.6, 0, 30)])
    images = torch.randn(2, 3, 5, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: warp(x**2, inverse) ** 2, images, atol=1e-4)
