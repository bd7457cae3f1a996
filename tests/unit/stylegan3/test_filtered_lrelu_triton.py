"""The GPU kernels without a GPU: interpreted, and compiled for one."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from triton.runtime.errors import OutOfResources

from lookalike.stylegan3 import filtered_lrelu_triton as module
from lookalike.stylegan3.filtered_lrelu import resampled_lrelu
from lookalike.stylegan3.filtered_lrelu_triton import plan_tiles
from lookalike.stylegan3.filters import design_lowpass
from lookalike.stylegan3.resampling import build_downsampler, build_upsampler

from .compiled_triton import layers_of

SHARED_MEMORY = 99 * 1024
"""Of the smallest GPU that runs the kernels (compute capability 8.6), per program."""


def run(script: str, *arguments: str) -> dict[str, Any]:
    """What a script beside this file prints, as a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    with tempfile.TemporaryDirectory() as folder:  # nothing compiled before is taken
        env = {**os.environ, "TRITON_CACHE_DIR": folder}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_interpreted_kernels_equal_the_matrices() -> None:
    report = run("interpreted_triton.py")
    assert report.pop("empty") == {"size": 0.0}
    # Both round the same float32 numbers to the planes' precision: half a unit of the last place.
    limits = {"torch.bfloat16": 2**-7, "torch.float16": 2**-10}
    limits["radial torch.bfloat16"] = limits["torch.bfloat16"]
    assert len(report) == 9
    for name, differences in report.items():
        assert set(differences) == {"y", "x", "scale", "bias"}
        for what, difference in differences.items():
            assert difference <= limits.get(name, 5e-6), f"{name}: {what}"


LARGEST = (64, 32, 32), (64, 32, 32, 32)
"""Blocks of the forward and of the backward kernel (TMP, IN, OUT, GRAD)."""
PRECISIONS = {"fp32": "tf32x3", "fp16": "tf32", "bf16": "tf32"}


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize("size", [(128, 128), (256, 256), (256, 128)])
def test_no_layer_has_larger_blocks_than_those_compiled_below(
    radial: bool, size: tuple[int, int]
) -> None:
    for up, down in layers_of(radial, *size):
        for tiling, largest in zip(module._plan(up, down), LARGEST, strict=True):
            assert all(block <= most for block, most in zip(tiling.blocks, largest, strict=True))
        assert len(up.rows) == 1


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("T", "fp32"), ("T", "fp16"), ("T", "bf16"), ("R", "fp32")],
)
def test_kernels_compile_and_fit_the_chip(kind: str, dtype: str) -> None:
    """The largest blocks; a sum of filters takes no more shared memory than one does."""
    report = run("compiled_triton.py", kind, dtype)
    assert report["precision"] == PRECISIONS[dtype]
    assert report["DOWN_TERMS"] == 1 if kind == "T" else report["DOWN_TERMS"] > 1
    for kernel, largest in zip(("_forward_kernel", "_backward_kernel"), LARGEST, strict=True):
        compiled = report[kernel]
        assert tuple(compiled["blocks"]) == largest
        assert compiled["shared_memory"] <= SHARED_MEMORY
        assert compiled["tensor_cores"]
        assert compiled["binary"] > 0


class Kernel:
    """Stands in for a compiled one: remembers the device, or has not the memory."""

    def __init__(self, fits: bool = True) -> None:
        self.fits, self.devices = fits, list[object]()

    def __getitem__(self, grid: tuple[int, int]) -> Callable[..., None]:
        return self.run

    def run(self, *_: object, **__: object) -> None:
        self.devices.append(CURRENT[-1])
        if not self.fits:
            raise OutOfResources(200_000, SHARED_MEMORY, "shared memory")


CURRENT: list[object] = [None]


class Device:
    """Stands in for `torch.cuda.device`."""

    def __init__(self, device: object) -> None:
        self.device = device

    def __enter__(self) -> None:
        CURRENT.append(self.device)

    def __exit__(self, *_: object) -> None:
        CURRENT.pop()


def test_kernels_run_on_the_device_of_their_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", Device)
    up, down = layers_of(False, 16, 16)[0]
    tiling, _ = module._plan(up, down)
    there = torch.device("cuda", 1)
    x = SimpleNamespace(shape=(2, 3, 9, 9), device=there, is_cuda=True, dtype=torch.float32)
    for tensor, expected in ((x, there), (torch.zeros(2, 3, 9, 9), None)):
        kernel = Kernel()
        module._launch(kernel, tiling, tensor, up=up, down=down, slope=0.2, clamp=1.0)
        assert kernel.devices == [expected]


@pytest.mark.parametrize("kernel", ["_forward_kernel", "_backward_kernel"])
def test_a_chip_without_the_memory_takes_matrices(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_forward_kernel", Kernel())
    monkeypatch.setattr(module, kernel, Kernel(fits=False))
    up, down = (resampler.float() for resampler in layers_of(False, 16, 16)[0])
    x = torch.randn(2, 3, *up.in_size, requires_grad=True)
    scale, bias = torch.rand(2, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    arguments = x, scale, bias, up, down, 0.2, None
    with pytest.warns(UserWarning, match="shared memory.*matrix products do its work"):
        y = module.fused_lrelu(*arguments)
        gradients = torch.autograd.grad(y, (x, scale, bias), torch.ones_like(y))
    expected = resampled_lrelu(*arguments)
    if kernel == "_forward_kernel":
        assert torch.equal(y, expected)
    cotangent = torch.ones_like(expected)
    for actual, wanted in zip(
        gradients, torch.autograd.grad(expected, (x, scale, bias), cotangent), strict=True
    ):
        assert torch.equal(actual, wanted)


@given(
    size=st.integers(1, 60),
    up=st.sampled_from([1, 2, 4]),
    down=st.sampled_from([1, 2, 4]),
    padding=st.tuples(st.integers(-8, 12), st.integers(-8, 12)),
)
def test_tiles_cover_what_they_depend_on(
    size: int, up: int, down: int, padding: tuple[int, int]
) -> None:
    taps = [design_lowpass(6 * factor if factor > 1 else 1, 1, 1, 8) for factor in (up, down)]
    assume(size * up + sum(padding) >= len(taps[0]) + len(taps[1]))
    upsampler = build_upsampler(taps[0], (size, size), up, (*padding, *padding))
    downsampler = build_downsampler(taps[1], upsampler.out_size, down)
    forward, backward = module._plan(upsampler, downsampler)
    u, ua = upsampler.spans[0], upsampler.adjoint_spans[0]
    d, da = downsampler.spans[0], downsampler.adjoint_spans[0]
    for tiling, first, others in ((forward, d, [u]), (backward, ua, [u, da])):
        assert len(tiling.row_tiles) * tiling.tile >= len(first)
        for index, span in enumerate(first):
            starts = tiling.row_tiles[index // tiling.tile].tolist()
            windows = [(s, s + b) for s, b in zip(starts, tiling.blocks, strict=False)]
            assert within(span, windows[0])
            for sample in range(*span):
                for spans, window in zip(others, windows[1:], strict=True):
                    assert within(spans[sample], window)


def within(span: tuple[int, int], window: tuple[int, int]) -> bool:
    """An empty span is anywhere."""
    return span[0] == span[1] or window[0] <= span[0] < span[1] <= window[1]


def test_filters_that_reach_too_far_are_refused() -> None:
    everything = tuple((0, 100) for _ in range(10))
    with pytest.raises(ValueError, match="more than 64 samples"):
        plan_tiles([(0, everything)], [(0, everything)], torch.device("cpu"))
