"""The GPU kernels without a GPU: interpreted, and compiled for one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import triton
from hypothesis import assume, given
from hypothesis import strategies as st
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lookalike.stylegan3 import filtered_lrelu_triton as module
from lookalike.stylegan3.design import GeneratorConfig, build_design
from lookalike.stylegan3.filtered_lrelu_triton import plan_tiles
from lookalike.stylegan3.filters import design_lowpass
from lookalike.stylegan3.generator import SynthesisLayer
from lookalike.stylegan3.resampling import build_downsampler, build_upsampler

SCRIPT = Path(__file__).with_name("interpreted_triton.py")
SHARED_MEMORY = 99 * 1024
"""Of the smallest GPU that runs the kernels (compute capability 8.6), per program."""


def test_interpreted_kernels_equal_the_matrices() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report.pop("empty") == {"size": 0.0}
    # Both round the same float32 numbers to the planes' precision: half a unit of the last place.
    limits = {"torch.bfloat16": 2**-7, "torch.float16": 2**-10}
    assert len(report) == 8
    for name, differences in report.items():
        assert set(differences) == {"y", "x", "scale", "bias"}
        for what, difference in differences.items():
            assert difference <= limits.get(name, 5e-6), f"{name}: {what}"


@pytest.mark.parametrize("kind", ["T", "R"])
def test_kernels_compile_and_fit_the_chip(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    config = GeneratorConfig(256, 128, channel_base=512, radial=kind == "R")
    # R: upsampled by 4, down by a sum of separable filters; T: the commonest case.
    layers = build_design(config).layers
    design = layers[12] if kind == "T" else next(la for la in layers if la.up_factor == 4)
    layer = SynthesisLayer(design, 4, reduced=True)
    up, down = layer.up, layer.down
    terms = {"UP_TERMS": len(up.rows), "DOWN_TERMS": len(down.rows), "PLANES": module.PLANES}
    assert terms["DOWN_TERMS"] == 1 if kind == "T" else terms["DOWN_TERMS"] > 1
    forward, backward = module._plan(up, down)
    for kernel, tiling, names in (
        (module._forward_kernel, forward, ("TMP", "IN", "OUT")),
        (module._backward_kernel, backward, ("TMP", "IN", "OUT", "GRAD")),
    ):
        constants = terms | dict(zip(names, tiling.blocks, strict=True))
        constants |= {"TILE": tiling.tile, "PRECISION": "tf32"}
        signature = {
            name: "constexpr" if name in constants else TYPES.get(name, "i32")
            for name in kernel.arg_names
        }
        compiled = triton.compile(
            ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 80, 32)
        )
        assert compiled.metadata.shared <= SHARED_MEMORY
        assert "mma.sync" in compiled.asm["ptx"]  # on tensor cores
        assert compiled.asm["cubin"]


TYPES = (
    dict.fromkeys(("x", "y", "grad_x", "grad_y"), "*bf16")
    | dict.fromkeys(("scale", "bias", "sums"), "*fp32")
    | dict.fromkeys(("up_rows", "up_columns", "down_rows", "down_columns"), "*fp32")
    | dict.fromkeys(("row_tiles", "column_tiles"), "*i32")
    | dict.fromkeys(("slope", "clamp"), "fp32")
)


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
