"""The filtered nonlinearity: upsample, leaky ReLU, downsample (Karras et al. 2021, section 3.1).

Both resampling steps are products with small banded matrices, ``rows @ x @ columns.T``. On a CPU
the planes go through in groups small enough for the cache: the signal at the temporary rate, by
far the largest tensor of a layer, never reaches main memory, and the backward pass computes it
again instead of keeping it.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from lookalike.stylegan3.filters import (
    Array,
    downsample_matrix,
    separable_terms,
    upsample_matrix,
)
from lookalike.stylegan3.layers import full_precision

CHUNK_ELEMENTS = 2**19
"""Elements at the temporary rate per group of planes: 2 MiB in float32."""


class Resampler(NamedTuple):
    """A linear map of planes: the sum over terms of ``rows[t] @ plane @ columns[t].T``.

    Separable filters have one term, radial ones a few.
    """

    rows: Tensor
    """[terms, out_height, in_height]"""
    columns: Tensor
    """[terms, out_width, in_width]"""

    @property
    def transposed(self) -> "Resampler":
        """The adjoint map, from output planes to input planes."""
        return Resampler(self.rows.mT, self.columns.mT)

    def __call__(self, planes: Tensor) -> Tensor:
        """Map planes [count, in_height, in_width] to [count, out_height, out_width]."""
        with full_precision(planes):
            total = _resample(planes, self.rows[0], self.columns[0])
            for rows, columns in zip(self.rows[1:], self.columns[1:], strict=True):
                total += _resample(planes, rows, columns)
        return total


def _resample(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    count, in_height, in_width = planes.shape
    rows, columns = rows.to(planes.dtype), columns.to(planes.dtype)
    out_height, out_width = rows.shape[0], columns.shape[0]
    # The expanded matrix keeps bmm from copying the planes, as matmul's broadcasting would.
    rows = rows.expand(count, -1, -1)
    rows_first_cost = out_height * in_width * (in_height + out_width)
    columns_first_cost = in_height * out_width * (in_width + out_height)
    if rows_first_cost <= columns_first_cost:
        partial = torch.bmm(rows, planes)
        return (partial.view(-1, in_width) @ columns.T).view(count, out_height, out_width)
    partial = planes.reshape(-1, in_width) @ columns.T
    return torch.bmm(rows, partial.view(count, in_height, out_width))


def build_upsampler(
    kernel: Array,
    size: tuple[int, int],
    up: int,
    padding: tuple[int, int, int, int],
    gain: float = 1.0,
) -> Resampler:
    """Zero-insertion, padding and filtering of planes of ``size`` (height, width), in float64.

    ``padding`` is (left, right, top, bottom) in upsampled samples, negative to crop. ``gain``
    multiplies the result; the up^2 that zero-insertion calls for is not included.
    """
    left, right, top, bottom = padding
    terms = separable_terms(kernel)
    return _stack(
        [upsample_matrix(row, size[0], up, (top, bottom), gain) for row, _ in terms],
        [upsample_matrix(column, size[1], up, (left, right)) for _, column in terms],
    )


def build_downsampler(kernel: Array, size: tuple[int, int], down: int) -> Resampler:
    """Filtering and decimation of planes of ``size`` (height, width), in float64."""
    terms = separable_terms(kernel)
    return _stack(
        [downsample_matrix(row, size[0], down) for row, _ in terms],
        [downsample_matrix(column, size[1], down) for _, column in terms],
    )


def _stack(rows: list[Array], columns: list[Array]) -> Resampler:
    return Resampler(torch.from_numpy(np.stack(rows)), torch.from_numpy(np.stack(columns)))


def filtered_lrelu(
    x: Tensor,
    b: Tensor | None = None,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
) -> Tensor:
    """Bias, upsampling, leaky ReLU with gain and clamp, downsampling.

    ``x`` is [N, C, H, W], ``b`` [C]; the filters ``fu`` and ``fd`` are 1-D (separable) or 2-D,
    None is the identity. ``padding`` is (left, right, top, bottom) in upsampled samples,
    negative to crop. The result is clamped to +-``clamp`` before it is filtered down.

    Builds its matrices on every call; layers keep theirs and call ``resampled_lrelu``.
    """
    size = (x.shape[2], x.shape[3])
    upsampler = build_upsampler(_as_kernel(fu), size, up, padding, gain=up**2 * gain)
    tmp_size = (upsampler.rows.shape[1], upsampler.columns.shape[1])
    downsampler = build_downsampler(_as_kernel(fd), tmp_size, down)
    if b is not None:
        x = x + b[:, None, None]
    upsampler = Resampler(*(matrix.to(x.device) for matrix in upsampler))
    downsampler = Resampler(*(matrix.to(x.device) for matrix in downsampler))
    return resampled_lrelu(x, upsampler, downsampler, slope, clamp)


def _as_kernel(taps: Tensor | None) -> Array:
    return np.ones(1) if taps is None else taps.detach().cpu().double().numpy()


def resampled_lrelu(
    x: Tensor,
    upsampler: Resampler,
    downsampler: Resampler,
    slope: float = 0.2,
    clamp: float | None = None,
) -> Tensor:
    """Upsample, leaky ReLU, clamp to +-``clamp``, downsample; differentiable to any order.

    ``x`` is [N, C, H, W]. A gain of the nonlinearity belongs into the upsampler: the leaky ReLU
    commutes with positive factors.
    """
    y: Tensor = _ResampledLrelu.apply(  # type: ignore[no-untyped-call]
        x, *upsampler, *downsampler, slope, clamp
    )
    return y


class _ResampledLrelu(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        up_rows: Tensor,
        up_columns: Tensor,
        down_rows: Tensor,
        down_columns: Tensor,
        slope: float,
        clamp: float | None,
    ) -> Tensor:
        up, down = Resampler(up_rows, up_columns), Resampler(down_rows, down_columns)
        ctx.save_for_backward(x, *up, *down)
        ctx.constants = slope, clamp
        y = x.new_empty(*x.shape[:2], down.rows.shape[1], down.columns.shape[1])
        planes, out = x.flatten(0, 1), y.flatten(0, 1)
        for group in _groups(planes, up):
            signal = torch.nn.functional.leaky_relu_(up(planes[group]), slope)
            if clamp is not None:
                signal.clamp_(-clamp, clamp)
            out[group] = down(signal)
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        slope, clamp = ctx.constants
        grad_x = _Linearised.apply(  # type: ignore[no-untyped-call]
            grad_y, *ctx.saved_tensors, slope, clamp, True
        )
        return grad_x, None, None, None, None, None, None


class _Linearised(Function):
    """The nonlinearity's derivative at ``x`` applied to a tangent, or its adjoint to a gradient.

    Linear in its first argument, and each direction is the other's derivative; the derivative
    with respect to ``x`` vanishes almost everywhere.
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: Tensor,
        x: Tensor,
        up_rows: Tensor,
        up_columns: Tensor,
        down_rows: Tensor,
        down_columns: Tensor,
        slope: float,
        clamp: float | None,
        adjoint: bool,
    ) -> Tensor:
        up, down = Resampler(up_rows, up_columns), Resampler(down_rows, down_columns)
        ctx.save_for_backward(x, *up, *down)
        ctx.constants = slope, clamp, adjoint
        first, last = (down.transposed, up.transposed) if adjoint else (up, down)
        result = x.new_empty(*x.shape[:2], last.rows.shape[1], last.columns.shape[1])
        planes, tangents, out = x.flatten(0, 1), v.flatten(0, 1), result.flatten(0, 1)
        for group in _groups(planes, up):
            signal = up(planes[group])
            tangent = torch.ops.aten.leaky_relu_backward(
                first(tangents[group]), signal, slope, False
            )
            if clamp is not None:
                # The activation leaves the clamp's range above at clamp, below at clamp/slope.
                tangent = torch.ops.aten.hardtanh_backward(tangent, signal, -clamp / slope, clamp)
            out[group] = last(tangent)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        slope, clamp, adjoint = ctx.constants
        grad_v = _Linearised.apply(  # type: ignore[no-untyped-call]
            grad, *ctx.saved_tensors, slope, clamp, not adjoint
        )
        return grad_v, None, None, None, None, None, None, None, None


def _groups(planes: Tensor, up: Resampler) -> list[slice]:
    """Planes that go through together: all of them, or on a CPU what fits its cache."""
    count = len(planes)
    step = count
    if planes.device.type == "cpu":
        step = max(1, CHUNK_ELEMENTS // (up.rows.shape[1] * up.columns.shape[1]))
    return [slice(start, min(start + step, count)) for start in range(0, count, max(step, 1))]
