"""Run the Triton kernels under its interpreter and print how far they are from the matrices.

A process of its own: Triton reads TRITON_INTERPRET once, when it is imported.
"""

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor

from lookalike.stylegan3.design import GeneratorConfig, build_design
from lookalike.stylegan3.filtered_lrelu import resampled_lrelu
from lookalike.stylegan3.filtered_lrelu_triton import fused_lrelu
from lookalike.stylegan3.filters import design_lowpass, design_radial_lowpass
from lookalike.stylegan3.generator import SynthesisLayer
from lookalike.stylegan3.resampling import Resampler, build_downsampler, build_upsampler

TAPS_2, TAPS_4 = design_lowpass(12, 4, 4, 32), design_lowpass(24, 4, 4, 64)
RADIAL = design_radial_lowpass(12, 4, 4, 32)
UNSYMMETRIC = torch.randn(6, generator=torch.Generator().manual_seed(1)).double().numpy()
ONE = design_lowpass(1, 1, 1, 4)

# filters up and down, factors, input size, padding (left, right, top, bottom)
CASES = {
    "up 2, down 2": (TAPS_2, TAPS_2, 2, 2, (38, 22), (9, 8, 9, 8)),
    "up 4, down 2, crop": (TAPS_4, TAPS_2, 4, 2, (22, 20), (-6, -9, 3, -5)),
    "up 2, down 4": (TAPS_2, TAPS_4, 2, 4, (40, 24), (5, 4, 10, 9)),
    "radial": (TAPS_2, RADIAL, 2, 2, (20, 14), (9, 8, 9, 8)),
    "unsymmetric": (UNSYMMETRIC, UNSYMMETRIC, 2, 1, (13, 17), (7, 2, -3, 4)),
    "pointwise": (ONE, ONE, 1, 1, (5, 35), (0, 0, 0, 0)),
}


def difference(actual: Tensor, expected: Tensor) -> float:
    """Largest, relative to the largest value."""
    assert actual.shape == expected.shape
    actual, expected = actual.detach().float(), expected.detach().float()
    return float((actual - expected).abs().max() / expected.abs().max())


def compare(
    up: Resampler, down: Resampler, dtype: torch.dtype, clamp: float | None, shape: tuple[int, int]
) -> dict[str, float]:
    torch.manual_seed(0)
    x = torch.randn(*shape, *up.in_size).to(dtype).requires_grad_()
    scale = (torch.rand(shape) + 0.5).requires_grad_()
    bias = torch.randn(shape[1]).requires_grad_()
    cotangent = torch.randn(*shape, *down.out_size).to(dtype)
    results = []
    for way in (fused_lrelu, resampled_lrelu):
        y = way(x, scale, bias, up, down, 0.2, clamp)
        assert y.dtype == dtype
        results.append((y, *torch.autograd.grad(y, (x, scale, bias), cotangent)))
    names = ("y", "x", "scale", "bias")
    return {name: difference(*pair) for name, *pair in zip(names, *results, strict=True)}


def main() -> None:
    report = {}
    for name, (fu, fd, factor_up, factor_down, size, padding) in CASES.items():
        up = build_upsampler(fu, size, factor_up, padding, gain=factor_up**2 * 2**0.5)
        down = build_downsampler(fd, up.out_size, factor_down)
        # Nine planes are more than a program takes, and not a multiple of it.
        shape = (3, 3) if name == "pointwise" else (2, 1)
        report[name] = compare(up.float(), down.float(), torch.float32, 1.0, shape)
    design = build_design(GeneratorConfig(32, 16, channel_base=64, channel_max=8, margin=4))
    layer = SynthesisLayer(design.layers[-2], 4, reduced=True)
    for dtype in (torch.bfloat16, torch.float16):
        report[str(dtype)] = compare(layer.up, layer.down, dtype, None, (1, 2))
    radial = build_design(
        GeneratorConfig(32, 16, channel_base=64, channel_max=8, margin=4, radial=True)
    )
    wide = SynthesisLayer(radial.layers[-4], 4, reduced=True)
    assert len(wide.down.rows) > 1, "a sum of separable filters"
    report["radial torch.bfloat16"] = compare(wide.up, wide.down, torch.bfloat16, None, (1, 2))
    empty = fused_lrelu(
        torch.empty(0, 2, *layer.up.in_size), torch.empty(0, 2), torch.empty(2),
        layer.up, layer.down, 0.2, None,
    )  # fmt: skip
    report["empty"] = {"size": float(empty.numel())}
    json.dump(report, sys.stdout)


main()
