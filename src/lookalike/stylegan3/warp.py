"""Affine warps of images that differentiate to any order (Karras et al. 2020, ADA, appendix B).

Reflect the image at its borders, upsample by 2, look up bilinearly, low-pass and decimate. The
filter is the sym6 wavelet (Daubechies): it is orthogonal to its own even shifts, so an image that
is not moved, or moved by whole pixels, comes back as it was.

R1 needs the derivative of a gradient through the lookup, which PyTorch's `grid_sample` does not
have. The lookup is linear in the image, so its adjoint's derivative is the lookup itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from lookalike.stylegan3.filters import Array, downsample_matrix, upsample_matrix
from lookalike.stylegan3.layers import full_precision

SYM6 = np.array(
    [
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    ]
)
CENTRE = 5
"""The tap that stands for the filter's position: the whole number next to its delay of 5.1."""
REACH = 4
"""Pixels beyond an output pixel that its filters and the bilinear lookup need."""


class Warp(nn.Module):
    """Moves images [N, 3, height, width] by affine transforms, seen as reflected at the borders.

    Args:
        height, width: of the images, in pixels; any.
        margin: part of each side by which whole-pixel shifts are exact up to the border.
    """

    up_rows: Tensor
    up_columns: Tensor
    down_rows: Tensor
    down_columns: Tensor
    lookups: Tensor
    extent: Tensor
    reach: Tensor

    def __init__(self, height: int, width: int, margin: float = 0.0):
        super().__init__()
        margins = [round(margin * size) + REACH for size in (height, width)]
        buffers = {
            "up_rows": torch.from_numpy(_upsampler(height, margins[0])),
            "up_columns": torch.from_numpy(_upsampler(width, margins[1])),
            "down_rows": torch.from_numpy(_downsampler(height)),
            "down_columns": torch.from_numpy(_downsampler(width)),
            "lookups": _lookup_positions(height, width),
            # Pixels (x, y) from the centre to the last pixel, and to the last upsampled sample.
            "extent": torch.tensor([width - 1, height - 1]) / 2,
            "reach": torch.tensor([width - 1 + 2 * margins[1], height - 1 + 2 * margins[0]]) / 2,
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.float(), persistent=False)

    def forward(self, images: Tensor, inverse: Tensor) -> Tensor:
        """Warp images [N, C, height, width], each by its own transform.

        `inverse` [N, 3, 3] maps output to input positions, (x, y, 1) in pixels from the centre. It
        gets no gradient.
        """
        size = (len(images), self.down_rows.shape[1], self.down_columns.shape[1], 2)
        with full_precision(images):
            inverse = inverse.detach().to(self.lookups.dtype)
            where = self.lookups @ inverse[:, :2, :2].mT + inverse[:, None, :2, 2]
            grid = (self._reflected(where) / self.reach).view(size)
            fine = _separable(images.to(self.lookups.dtype), self.up_rows, self.up_columns)
            moved = bilinear_lookup(fine, grid)
            return _separable(moved, self.down_rows, self.down_columns)

    def _reflected(self, where: Tensor) -> Tensor:
        """Positions beyond the padded image, mirrored (as often as need be) into the image."""
        period = (4 * self.extent).clamp(min=1.0)
        folded = torch.remainder(where + self.extent, period)
        folded = torch.minimum(folded, period - folded) - self.extent
        return torch.where(where.abs() > self.reach - 1, folded, where)


def _lookup_positions(height: int, width: int) -> Tensor:
    """Where the low-pass wants upsampled samples: [rows * columns, 2] (x, y), from the centre."""
    axes = [
        (torch.arange(2 * size + len(SYM6) - 2) - CENTRE) / 2 - (size - 1) / 2
        for size in (height, width)
    ]
    y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def _upsampler(size: int, margin: int) -> Array:
    """Matrix [2 (size + 2 margin) - 1, size]: sample i lies at pixel i / 2 - margin.

    Pixels beyond the image are its reflection, without repeating the border.
    """
    padded = margin + REACH - 1
    period = max(2 * (size - 1), 1)
    pixels = np.arange(-padded, size + padded) % period
    reflect = np.eye(size)[np.minimum(pixels, period - pixels)]
    matrix = upsample_matrix(SYM6, size + 2 * padded, 2, (0, -2), gain=2**0.5)
    return np.asarray(matrix @ reflect)


def _downsampler(size: int) -> Array:
    """Matrix [size, 2 size + 10]: the upsampling filter mirrored, which undoes it."""
    return downsample_matrix(SYM6[::-1] / 2**0.5, 2 * size + len(SYM6) - 2, 2)


def _separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ image @ columns.T of every plane; linear in the images."""
    linear = nn.functional.linear
    return linear(linear(images, columns).mT, rows).mT


def bilinear_lookup(images: Tensor, grid: Tensor) -> Tensor:
    """`grid_sample`, bilinear with aligned corners, differentiable in the images to any order.

    Images [N, C, H, W]; grid [N, H', W', 2] with (x, y) from -1, the first sample, to 1, the last.
    """
    values: Tensor = _Lookup.apply(images, grid)  # type: ignore[no-untyped-call]
    return values


class _Lookup(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = images.shape
        return nn.functional.grid_sample(images, grid, align_corners=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _LookupAdjoint.apply(grad, grid, ctx.size), None  # type: ignore[no-untyped-call]


class _LookupAdjoint(Function):
    """The transposed lookup: every value goes back to the four samples it came from."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        images = values.new_empty(1).expand(size)  # only its size is used
        bilinear, zeros, align_corners = 0, 0, True
        result: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            values, images, grid, bilinear, zeros, align_corners, [True, False]
        )[0]
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return bilinear_lookup(grad, grid), None, None
