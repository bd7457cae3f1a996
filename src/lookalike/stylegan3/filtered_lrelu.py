"""The filtered nonlinearity: upsample, leaky ReLU, downsample (Karras et al. 2021, section 3.1).

A Triton kernel computes it where it can, matrix products elsewhere.
"""

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from lookalike.stylegan3.filters import Array
from lookalike.stylegan3.lrelu_by_matrices import lrelu_by_matrices
from lookalike.stylegan3.resampling import Resampler, build_downsampler, build_upsampler


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
    downsampler = build_downsampler(_as_kernel(fd), upsampler.out_size, down)
    precise = x.new_empty(0, dtype=torch.promote_types(x.dtype, torch.float32))
    return resampled_lrelu(
        x,
        precise.new_ones(x.shape[:2]),
        precise.new_zeros(x.shape[1]) if b is None else b,
        upsampler.to(precise),
        downsampler.to(precise),
        slope,
        clamp,
    )


def _as_kernel(taps: Tensor | None) -> Array:
    return np.ones(1) if taps is None else taps.detach().cpu().double().numpy()


def resampled_lrelu(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    up: Resampler,
    down: Resampler,
    slope: float = 0.2,
    clamp: float | None = None,
) -> Tensor:
    """Scale, bias, upsample, leaky ReLU, clamp to +-``clamp``, downsample.

    ``x`` is [N, C, *up.in_size], ``scale`` [N, C], ``bias`` [C]; the result [N, C, *down.out_size]
    has the precision of ``x``, which may be lower than that of ``scale``, in which all of this is
    computed. Differentiable to any order on a CPU, once in the fused kernel on CUDA (the generator
    needs no more). A gain of the nonlinearity belongs into ``up``: the
    leaky ReLU commutes with positive factors.
    """
    fused = fused_kernel(x)
    if fused is not None:
        return fused(x, scale, bias, up, down, slope, clamp)
    return lrelu_by_matrices(x, scale, bias, up, down, slope, clamp)


def fused_kernel(x: Tensor) -> Callable[..., Tensor] | None:
    """The Triton kernel where it can run on ``x``: Ampere GPUs and newer, up to float32."""
    if not x.is_cuda or x.dtype == torch.float64:
        return None
    return _load_kernel(torch.cuda.get_device_capability(x.device))


@cache
def _load_kernel(capability: tuple[int, int]) -> Callable[..., Tensor] | None:
    why = "the GPU is older than Ampere"
    if capability >= (8, 0):
        try:
            from triton.runtime import driver

            from lookalike.stylegan3.filtered_lrelu_triton import fused_lrelu

            # Builds Triton's launcher, for which it needs a C compiler (not CUDA's).
            driver.active.get_current_target()
        except Exception as error:  # Triton's errors have no common base
            why = f"Triton does not work here ({error})"
        else:
            return fused_lrelu
    warnings.warn(
        f"filtered lrelu: {why}; matrix products do its work, slower and with more memory",
        stacklevel=2,
    )
    return None
