"""Compile the Triton kernels for a GPU that need not be there and print what became of them.

A process of its own: LLVM runs inside whoever compiles, and should it crash, one test fails and
not all that share a process with it.
"""

import json
import sys

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lookalike.stylegan3 import filtered_lrelu_triton as module
from lookalike.stylegan3 import generator
from lookalike.stylegan3.design import GeneratorConfig, build_design
from lookalike.stylegan3.resampling import Resampler

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
TYPES = (
    dict.fromkeys(("scale", "bias", "sums"), "*fp32")
    | dict.fromkeys(("up_rows", "up_columns", "down_rows", "down_columns"), "*fp32")
    | dict.fromkeys(("row_tiles", "column_tiles"), "*i32")
    | dict.fromkeys(("slope", "clamp"), "fp32")
)


def layers_of(radial: bool, height: int, width: int) -> list[tuple[Resampler, Resampler]]:
    """Of the networks as published, which the profiles train."""
    config = GeneratorConfig(height, width, radial=radial)
    return [generator._resamplers(layer) for layer in build_design(config).layers[:-1]]


def compile_kernels(kind: str, dtype: str) -> dict[str, object]:
    """Both kernels for a first layer of 128x128, compute capability 8.0."""
    up, down = layers_of(kind == "R", 128, 128)[0]
    precision = module._precision(torch.empty(0, dtype=getattr(torch, DTYPES[dtype])))
    terms = {"UP_TERMS": len(up.rows), "DOWN_TERMS": len(down.rows), "PLANES": module.PLANES}
    planes = dict.fromkeys(("x", "y", "grad_x", "grad_y"), f"*{dtype}")
    kernels = module._forward_kernel, module._backward_kernel
    names = ("TMP", "IN", "OUT"), ("TMP", "IN", "OUT", "GRAD")
    report: dict[str, object] = {"precision": precision} | terms
    for kernel, tiling, blocks in zip(kernels, module._plan(up, down), names, strict=True):
        constants = terms | dict(zip(blocks, tiling.blocks, strict=True))
        constants |= {"TILE": tiling.tile, "PRECISION": precision}
        signature = {
            name: "constexpr" if name in constants else (TYPES | planes).get(name, "i32")
            for name in kernel.arg_names
        }
        compiled = triton.compile(
            ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 80, 32)
        )
        report[kernel.__name__] = {
            "blocks": tiling.blocks,
            "shared_memory": compiled.metadata.shared,
            "tensor_cores": "mma.sync" in compiled.asm["ptx"],
            "binary": len(compiled.asm["cubin"]),
        }
    return report


if __name__ == "__main__":
    print(json.dumps(compile_kernels(*sys.argv[1:])))
