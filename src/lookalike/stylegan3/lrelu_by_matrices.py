"""The filtered nonlinearity by matrix products, on any device.

On a CPU the planes go through in groups small enough for the cache: the signal at the temporary
rate, by far the largest tensor of a layer, never reaches main memory. What the backward pass needs
of it, one of three slopes per sample, is kept as one byte.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from lookalike.stylegan3.layers import channel_products
from lookalike.stylegan3.resampling import Resampler

CHUNK_ELEMENTS = 2**19
"""Elements at the temporary rate per group of planes: 2 MiB in float32."""


def lrelu_by_matrices(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    up: Resampler,
    down: Resampler,
    slope: float,
    clamp: float | None,
) -> Tensor:
    """``filtered_lrelu.resampled_lrelu``; differentiable to any order."""
    y: Tensor = _MatrixLrelu.apply(  # type: ignore[no-untyped-call]
        x, scale, bias, up, down, slope, clamp
    )
    return y


class _MatrixLrelu(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        bias: Tensor,
        up: Resampler,
        down: Resampler,
        slope: float,
        clamp: float | None,
    ) -> Tensor:
        x = x.contiguous()
        y = x.new_empty(*x.shape[:2], *down.out_size)
        slopes = None
        if any(ctx.needs_input_grad[:3]):
            slopes = x.new_empty(x.shape[0] * x.shape[1], *up.out_size, dtype=torch.int8)
        planes, out = x.flatten(0, 1), y.flatten(0, 1)
        gain = scale.reshape(-1, 1, 1)
        offset = bias.repeat(len(x)).view(-1, 1, 1)
        upsample, downsample = up.prepare(scale.dtype), down.prepare(scale.dtype)

        def filter_planes(group: slice) -> None:
            lines = _empty_lines(planes[group], scale.dtype)
            torch.addcmul(offset[group], planes[group], gain[group], out=lines.transpose(0, 1))
            signal = upsample(lines)
            limit = clamp if _exceeds(signal, slope, clamp) else None
            if slopes is not None:
                slopes[group].view(signal.shape).copy_(_slope_codes(signal, slope, limit))
            torch.nn.functional.leaky_relu_(signal, slope)
            if limit is not None:
                signal.clamp_(-limit, limit)
            out[group] = downsample(signal).transpose(0, 1)

        _for_groups(filter_planes, planes, up)
        ctx.save_for_backward(x, scale, slopes)
        ctx.constants = up, down, slope
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, slopes = ctx.saved_tensors
        grad: Tensor = _Linearised.apply(  # type: ignore[no-untyped-call]
            grad_y.to(scale.dtype), slopes, *ctx.constants, True
        )
        return (
            (grad * scale[:, :, None, None]).to(x.dtype),
            channel_products(grad, x.to(grad.dtype)),
            grad.sum((0, 2, 3)),
            *[None] * 4,
        )


class _Linearised(Function):
    """The nonlinearity's derivative applied to a tangent, or its adjoint to a gradient.

    Linear in its first argument, and each direction is the other's derivative; the derivative
    with respect to the slopes vanishes almost everywhere.
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: Tensor,
        slopes: Tensor,
        up: Resampler,
        down: Resampler,
        slope: float,
        adjoint: bool,
    ) -> Tensor:
        ctx.save_for_backward(slopes)
        ctx.constants = up, down, slope, adjoint
        first, last = (down, up) if adjoint else (up, down)
        result = v.new_empty(*v.shape[:2], *(last.in_size if adjoint else last.out_size))
        planes, out = v.flatten(0, 1), result.flatten(0, 1)
        resample_first, resample_last = (r.prepare(v.dtype, adjoint) for r in (first, last))

        def filter_planes(group: slice) -> None:
            lines = _empty_lines(planes[group], v.dtype)
            lines.transpose(0, 1).copy_(planes[group])
            signal = resample_first(lines)
            codes = slopes[group].view(signal.shape).to(signal.dtype)
            # Code -1 stands for the slope, 0 and 1 for themselves.
            signal.mul_(torch.nn.functional.leaky_relu_(codes, -slope))
            out[group] = resample_last(signal).transpose(0, 1)

        _for_groups(filter_planes, planes, up)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_v = _Linearised.apply(  # type: ignore[no-untyped-call]
            grad, *ctx.saved_tensors, *ctx.constants[:-1], not ctx.constants[-1]
        )
        return grad_v, *[None] * 5


def _exceeds(signal: Tensor, slope: float, clamp: float | None) -> bool:
    """Whether the clamp has anything to do; always, where finding out takes longer than doing."""
    if clamp is None or not signal.is_cpu or not signal.numel():
        return True
    low, high = signal.aminmax()
    # The leaky ReLU leaves the clamp's range above at clamp, below at clamp / slope.
    return not (-clamp / slope < low.item() and high.item() < clamp)


def _slope_codes(signal: Tensor, slope: float, clamp: float | None) -> Tensor:
    """1 where the clamped leaky ReLU has slope 1, -1 where it has ``slope``, 0 where it is flat."""
    # By arithmetic: comparisons yield booleans, which PyTorch handles four times slower.
    codes = signal.sign()
    if clamp is not None:
        codes = torch.ops.aten.hardtanh_backward(codes, signal, -clamp / slope, clamp)
    return codes


def _empty_lines(planes: Tensor, dtype: torch.dtype) -> Tensor:
    """Room for planes [count, height, width] in the order in which ``Resampler`` takes them."""
    count, height, width = planes.shape
    return planes.new_empty(height, count, width, dtype=dtype)


def _for_groups(work: Callable[[slice], None], planes: Tensor, up: Resampler) -> None:
    """Do ``work`` on groups of planes: on all at once, or on a CPU on what fits its cache.

    There every thread takes groups of its own. To share a group is slower: its matrix products
    last for microseconds. The groups do not depend on the threads, and so neither does the result.
    """
    count = len(planes)
    if not planes.is_cpu:
        return work(slice(0, count))
    step = max(1, CHUNK_ELEMENTS // (up.out_size[0] * up.out_size[1]))
    groups = [slice(start, min(start + step, count)) for start in range(0, count, step)]
    threads = min(torch.get_num_threads(), len(groups))
    inference = torch.is_inference_mode_enabled()

    def share(first: int) -> None:
        # Modes belong to threads.
        with torch.inference_mode(inference), torch.no_grad():
            for group in groups[first::threads]:
                work(group)

    if threads == 0:
        return None
    if threads == 1:
        return share(0)
    all_threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(share, range(threads)))
    finally:
        # The setting of a new thread is also the default of those to come.
        torch.set_num_threads(all_threads)
