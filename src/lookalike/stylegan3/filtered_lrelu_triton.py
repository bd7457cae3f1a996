"""The filtered nonlinearity as one GPU kernel each way, in Triton: no CUDA compiler is needed.

A program makes one square tile of the result for a few planes. It loads the part of the plane that
the tile depends on, applies the upsampling, leaky ReLU and downsampling to it on the chip, and
writes the tile: the signal at the temporary rate never reaches the memory. The filters are the
matrices of ``Resampler``, cut to the tile's band; as products of small matrices they run on tensor
cores. The backward kernel computes the signal's slopes again instead of reading them.

Sums are float32. Factors of half-precision planes are TF32, which keeps the filters three bits more
precise than bfloat16; those of float32 planes are each split into two TF32 values, whose products
have float32's precision. (Plain float32 products would not run on tensor cores, and at this size
they do not fit into the registers.)
"""

# Kernels are not Python, however much they look like it.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import warnings
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from triton.runtime.errors import OutOfResources

from lookalike.stylegan3.lrelu_by_matrices import lrelu_by_matrices
from lookalike.stylegan3.resampling import Resampler, Spans

PLANES = 8
"""Planes per program, so that it loads its matrices once for all of them."""
MAX_SIGNAL = 64
"""Samples per axis at the temporary rate that a program holds: 16 KiB of float32."""
MAX_SOURCE = 32
"""Samples per axis that it loads or writes."""
MOVE_COST = 32
"""Multiplications in whose time one sample is loaded or written, about."""
MIN_DOT = 16
"""Triton multiplies no smaller matrices."""


@triton.jit
def _block(matrix, stride, transposed_stride, start, size, other_start, other_size,
           ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    """Rows from ``start`` and columns from ``other_start`` of a matrix, zero beyond its size."""
    rows = start + tl.arange(0, ROWS)[:, None]
    columns = other_start + tl.arange(0, COLUMNS)[None, :]
    inside = (rows < size) & (columns < other_size)
    return tl.load(matrix + rows * stride + columns * transposed_stride, mask=inside, other=0.0)


@triton.jit
def _forward_kernel(
    x, scale, bias, y, up_rows, up_columns, down_rows, down_columns, row_tiles, column_tiles,
    planes, channels, column_count, in_height, in_width, tmp_height, tmp_width, out_height,
    out_width, slope, clamp,
    UP_TERMS: tl.constexpr, DOWN_TERMS: tl.constexpr, TILE: tl.constexpr, PLANES: tl.constexpr,
    IN: tl.constexpr, TMP: tl.constexpr, OUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row_tile = tl.program_id(1) // column_count
    column_tile = tl.program_id(1) % column_count
    tmp_row = tl.load(row_tiles + 2 * row_tile)
    in_row = tl.load(row_tiles + 2 * row_tile + 1)
    tmp_column = tl.load(column_tiles + 2 * column_tile)
    in_column = tl.load(column_tiles + 2 * column_tile + 1)
    out_row, out_column = row_tile * TILE, column_tile * TILE

    ur = _block(up_rows, in_height, 1, tmp_row, tmp_height, in_row, in_height, TMP, IN)
    uc = _block(up_columns, 1, in_width, in_column, in_width, tmp_column, tmp_width, IN, TMP)
    dr = _block(down_rows, tmp_height, 1, out_row, out_height, tmp_row, tmp_height, OUT, TMP)
    dc = _block(down_columns, 1, tmp_width, tmp_column, tmp_width, out_column, out_width, TMP, OUT)

    for i in range(PLANES):
        plane = tl.program_id(0) * PLANES + i
        if plane < planes:
            source = x + plane.to(tl.int64) * in_height * in_width
            tile = _block(
                source, in_width, 1, in_row, in_height, in_column, in_width, IN, IN
            ).to(tl.float32)  # fmt: skip
            tile = tile * tl.load(scale + plane) + tl.load(bias + plane % channels)
            signal = tl.dot(ur, tl.dot(tile, uc, input_precision=PRECISION),
                            input_precision=PRECISION)  # fmt: skip
            for t in tl.static_range(1, UP_TERMS):
                r = _block(up_rows + t * tmp_height * in_height, in_height, 1,
                           tmp_row, tmp_height, in_row, in_height, TMP, IN)  # fmt: skip
                c = _block(up_columns + t * tmp_width * in_width, 1, in_width,
                           in_column, in_width, tmp_column, tmp_width, IN, TMP)  # fmt: skip
                signal += tl.dot(r, tl.dot(tile, c, input_precision=PRECISION),
                                 input_precision=PRECISION)  # fmt: skip

            signal = tl.where(signal > 0, signal, signal * slope)
            signal = tl.minimum(tl.maximum(signal, -clamp), clamp)

            result = tl.dot(tl.dot(dr, signal, input_precision=PRECISION), dc,
                            input_precision=PRECISION)  # fmt: skip
            for t in tl.static_range(1, DOWN_TERMS):
                r = _block(down_rows + t * out_height * tmp_height, tmp_height, 1,
                           out_row, out_height, tmp_row, tmp_height, OUT, TMP)  # fmt: skip
                c = _block(down_columns + t * out_width * tmp_width, 1, tmp_width,
                           tmp_column, tmp_width, out_column, out_width, TMP, OUT)  # fmt: skip
                result += tl.dot(tl.dot(r, signal, input_precision=PRECISION), c,
                                 input_precision=PRECISION)  # fmt: skip

            rows, columns = tl.arange(0, OUT)[:, None], tl.arange(0, OUT)[None, :]
            inside = (rows < TILE) & (out_row + rows < out_height)
            inside &= (columns < TILE) & (out_column + columns < out_width)
            target = y + plane.to(tl.int64) * out_height * out_width
            tl.store(target + (out_row + rows) * out_width + out_column + columns,
                     result.to(y.dtype.element_ty), mask=inside)  # fmt: skip


@triton.jit
def _backward_kernel(
    grad_y, x, scale, bias, grad_x, sums, up_rows, up_columns, down_rows, down_columns,
    row_tiles, column_tiles, planes, channels, column_count, in_height, in_width, tmp_height,
    tmp_width, out_height, out_width, slope, clamp,
    UP_TERMS: tl.constexpr, DOWN_TERMS: tl.constexpr, TILE: tl.constexpr, PLANES: tl.constexpr,
    IN: tl.constexpr, TMP: tl.constexpr, OUT: tl.constexpr, GRAD: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Tiles of the input's gradient; ``sums`` takes those of the scale and bias of every tile."""
    tiles = tl.num_programs(1)
    row_tile = tl.program_id(1) // column_count
    column_tile = tl.program_id(1) % column_count
    tmp_row = tl.load(row_tiles + 3 * row_tile)
    in_row = tl.load(row_tiles + 3 * row_tile + 1)
    out_row = tl.load(row_tiles + 3 * row_tile + 2)
    tmp_column = tl.load(column_tiles + 3 * column_tile)
    in_column = tl.load(column_tiles + 3 * column_tile + 1)
    out_column = tl.load(column_tiles + 3 * column_tile + 2)
    row, column = row_tile * TILE, column_tile * TILE

    # As in the forward kernel: the signal around the tile.
    ur = _block(up_rows, in_height, 1, tmp_row, tmp_height, in_row, in_height, TMP, IN)
    uc = _block(up_columns, 1, in_width, in_column, in_width, tmp_column, tmp_width, IN, TMP)
    # Adjoint of the downsampling, then of the upsampling.
    dr = _block(down_rows, 1, tmp_height, tmp_row, tmp_height, out_row, out_height, TMP, OUT)
    dc = _block(down_columns, tmp_width, 1, out_column, out_width, tmp_column, tmp_width, OUT, TMP)
    gr = _block(up_rows, 1, in_height, row, in_height, tmp_row, tmp_height, GRAD, TMP)
    gc = _block(up_columns, in_width, 1, tmp_column, tmp_width, column, in_width, TMP, GRAD)

    for i in range(PLANES):
        plane = tl.program_id(0) * PLANES + i
        if plane < planes:
            source = x + plane.to(tl.int64) * in_height * in_width
            gain = tl.load(scale + plane)
            tile = _block(
                source, in_width, 1, in_row, in_height, in_column, in_width, IN, IN
            ).to(tl.float32)  # fmt: skip
            tile = tile * gain + tl.load(bias + plane % channels)
            signal = tl.dot(ur, tl.dot(tile, uc, input_precision=PRECISION),
                            input_precision=PRECISION)  # fmt: skip
            for t in tl.static_range(1, UP_TERMS):
                r = _block(up_rows + t * tmp_height * in_height, in_height, 1,
                           tmp_row, tmp_height, in_row, in_height, TMP, IN)  # fmt: skip
                c = _block(up_columns + t * tmp_width * in_width, 1, in_width,
                           in_column, in_width, tmp_column, tmp_width, IN, TMP)  # fmt: skip
                signal += tl.dot(r, tl.dot(tile, c, input_precision=PRECISION),
                                 input_precision=PRECISION)  # fmt: skip

            cotangent = grad_y + plane.to(tl.int64) * out_height * out_width
            tile = _block(
                cotangent, out_width, 1, out_row, out_height, out_column, out_width, OUT, OUT
            ).to(tl.float32)  # fmt: skip
            grad = tl.dot(dr, tl.dot(tile, dc, input_precision=PRECISION),
                          input_precision=PRECISION)  # fmt: skip
            for t in tl.static_range(1, DOWN_TERMS):
                r = _block(down_rows + t * out_height * tmp_height, 1, tmp_height,
                           tmp_row, tmp_height, out_row, out_height, TMP, OUT)  # fmt: skip
                c = _block(down_columns + t * out_width * tmp_width, tmp_width, 1,
                           out_column, out_width, tmp_column, tmp_width, OUT, TMP)  # fmt: skip
                grad += tl.dot(r, tl.dot(tile, c, input_precision=PRECISION),
                               input_precision=PRECISION)  # fmt: skip

            grad = tl.where(signal > 0, grad, grad * slope)
            grad = tl.where((signal < clamp) & (signal * slope > -clamp), grad, 0.0)

            result = tl.dot(tl.dot(gr, grad, input_precision=PRECISION), gc,
                            input_precision=PRECISION)  # fmt: skip
            for t in tl.static_range(1, UP_TERMS):
                r = _block(up_rows + t * tmp_height * in_height, 1, in_height,
                           row, in_height, tmp_row, tmp_height, GRAD, TMP)  # fmt: skip
                c = _block(up_columns + t * tmp_width * in_width, in_width, 1,
                           tmp_column, tmp_width, column, in_width, TMP, GRAD)  # fmt: skip
                result += tl.dot(tl.dot(r, grad, input_precision=PRECISION), c,
                                 input_precision=PRECISION)  # fmt: skip

            rows, columns = tl.arange(0, GRAD)[:, None], tl.arange(0, GRAD)[None, :]
            inside = (rows < TILE) & (row + rows < in_height)
            inside &= (columns < TILE) & (column + columns < in_width)
            offset = (row + rows) * in_width + column + columns
            target = grad_x + plane.to(tl.int64) * in_height * in_width
            tl.store(target + offset, (result * gain).to(grad_x.dtype.element_ty), mask=inside)
            result = tl.where(inside, result, 0.0)
            value = tl.load(source + offset, mask=inside, other=0.0).to(tl.float32)
            slot = sums + 2 * (plane.to(tl.int64) * tiles + tl.program_id(1))
            tl.store(slot, tl.sum(tl.sum(result * value, 1), 0))
            tl.store(slot + 1, tl.sum(tl.sum(result, 1), 0))


class Tiling(NamedTuple):
    """How a result of [height, width] is cut into tiles, and what each depends on."""

    tile: int
    """Results per tile and axis."""
    blocks: tuple[int, ...]
    """Powers of two that hold, per axis, what a tile depends on at each stage, and itself."""
    row_tiles: Tensor
    """[row tiles, stages] int32: where what a tile depends on begins."""
    column_tiles: Tensor
    """[column tiles, stages] int32."""


def plan_tiles(
    rows: list[tuple[int, Spans]], columns: list[tuple[int, Spans]], device: torch.device
) -> Tiling:
    """The tiling with the least to multiply and to move.

    ``rows`` and ``columns`` describe the stages on which a result depends: the temporary rate
    first, then what is loaded. Each is the index of the stage that it hangs on, 0 for the result
    and 1 for the temporary rate, and the samples that each of that stage's samples touches.
    """
    best, best_cost = None, float("inf")
    for tile in range(1, MAX_SOURCE + 1):
        row_starts, row_extents = _dependencies(rows, tile)
        column_starts, column_extents = _dependencies(columns, tile)
        extents = np.maximum(row_extents, column_extents).tolist()
        signal, *sources = blocks = [_block_size(extent) for extent in (*extents, tile)]
        if signal > MAX_SIGNAL or max(sources) > MAX_SOURCE:
            continue
        # Every other stage is mapped to or from the temporary rate by two products.
        cost = sum(s * signal * (s + signal) + MOVE_COST * s**2 for s in sources)
        cost *= len(row_starts[0]) * len(column_starts[0])
        if cost < best_cost:
            best_cost = cost
            starts = [
                torch.tensor(np.array(axis), dtype=torch.int32).T.contiguous()
                for axis in (row_starts, column_starts)
            ]
            best = Tiling(tile, tuple(blocks), *(tensor.to(device) for tensor in starts))
    if best is None:
        raise ValueError(f"these filters reach over more than {MAX_SIGNAL} samples")
    return best


def _dependencies(
    stages: list[tuple[int, Spans]], tile: int
) -> tuple[list[list[int]], np.ndarray[Any, np.dtype[np.int_]]]:
    """Begin of what every tile touches at every stage, and the largest extent at each."""
    size = len(stages[0][1])
    edges = [*range(0, size, tile), size]
    ranges = [list(pairwise(edges))]
    for parent, spans in stages:
        reached = []
        for start, end in ranges[parent]:
            touched = [span for span in spans[start:end] if span[0] < span[1]]
            reached.append(
                (min(low for low, _ in touched), max(high for _, high in touched))
                if touched
                else (0, 1)
            )
        ranges.append(reached)
    extents = [max(high - low for low, high in reached) for reached in ranges[1:]]
    return [[low for low, _ in reached] for reached in ranges[1:]], np.array(extents)


def _block_size(extent: int) -> int:
    return max(MIN_DOT, 1 << (extent - 1).bit_length())


_plans: WeakKeyDictionary[Resampler, dict[Any, tuple[Resampler, Tiling, Tiling]]]
_plans = WeakKeyDictionary()


def _plan(up: Resampler, down: Resampler) -> tuple[Tiling, Tiling]:
    """Tilings of the forward and the backward kernel, kept as long as ``up`` lives."""
    device = up.rows.device
    plans = _plans.setdefault(up, {})
    if device not in plans or plans[device][0] is not down:
        axes = list(zip(up.spans, up.adjoint_spans, down.spans, down.adjoint_spans, strict=True))
        forward = [[(0, d), (1, u)] for u, _, d, _ in axes]
        backward = [[(0, ua), (1, u), (1, da)] for u, ua, _, da in axes]
        plans[device] = (
            down,
            plan_tiles(forward[0], forward[1], device),
            plan_tiles(backward[0], backward[1], device),
        )
    return plans[device][1:]


def fused_lrelu(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    up: Resampler,
    down: Resampler,
    slope: float,
    clamp: float | None,
) -> Tensor:
    """``resampled_lrelu`` for float32, float16 and bfloat16 planes; differentiable once.

    Where the chip has not the memory for a kernel, matrix products do its work.
    """
    arguments = x, scale, bias, up, down, slope, float("inf") if clamp is None else clamp
    try:
        y: Tensor = _FusedLrelu.apply(*arguments)  # type: ignore[no-untyped-call]
    except OutOfResources as error:
        y = _by_matrices(error, *arguments)
    return y


def _by_matrices(error: OutOfResources, *arguments: Any) -> Tensor:
    """What ``filtered_lrelu`` does where there is no Triton."""
    warnings.warn(
        f"filtered lrelu: {error}; matrix products do its work, slower and with more memory",
        stacklevel=3,
    )
    return lrelu_by_matrices(*arguments)


class _FusedLrelu(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        bias: Tensor,
        up: Resampler,
        down: Resampler,
        slope: float,
        clamp: float,
    ) -> Tensor:
        x, scale, bias = x.contiguous(), scale.float().contiguous(), bias.float().contiguous()
        ctx.save_for_backward(x, scale, bias)
        ctx.constants = up, down, slope, clamp
        y = x.new_empty(*x.shape[:2], *down.out_size)
        tiling, _ = _plan(up, down)
        signal, source, tile = tiling.blocks
        if y.numel():
            _launch(
                _forward_kernel, tiling, x, scale, bias, y, up=up, down=down, slope=slope,
                clamp=clamp, IN=source, TMP=signal, OUT=tile,
            )  # fmt: skip
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, bias = ctx.saved_tensors
        up, down, slope, clamp = ctx.constants
        grad_y, grad_x = grad_y.contiguous(), torch.empty_like(x)
        _, tiling = _plan(up, down)
        signal, source, cotangent, tile = tiling.blocks
        sums = scale.new_empty(*x.shape[:2], _tile_count(tiling), 2)
        try:
            if x.numel():
                _launch(
                    _backward_kernel, tiling, grad_y, x, scale, bias, grad_x, sums, up=up,
                    down=down, slope=slope, clamp=clamp, IN=source, TMP=signal, OUT=cotangent,
                    GRAD=tile,
                )  # fmt: skip
        except OutOfResources as error:
            inputs = [tensor.detach().requires_grad_() for tensor in (x, scale, bias)]
            with torch.enable_grad():
                y = _by_matrices(error, *inputs, up, down, slope, clamp)
            return *torch.autograd.grad(y, inputs, grad_y), None, None, None, None
        grad_scale, grad_bias = sums.sum(2).unbind(2)
        return grad_x, grad_scale, grad_bias.sum(0), None, None, None, None


def _launch(
    kernel: Any,
    tiling: Tiling,
    *tensors: Tensor,
    up: Resampler,
    down: Resampler,
    slope: float,
    clamp: float,
    **blocks: int,
) -> None:
    """On the tensors' device: Triton takes the current one, which need not be theirs."""
    x = tensors[0]
    count, channels = x.shape[:2]
    grid = triton.cdiv(count * channels, PLANES), _tile_count(tiling)
    with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
        kernel[grid](
            *tensors, up.rows, up.columns, down.rows, down.columns, tiling.row_tiles,
            tiling.column_tiles, count * channels, channels, len(tiling.column_tiles), *up.in_size,
            *up.out_size, *down.out_size, slope, clamp, UP_TERMS=len(up.rows),
            DOWN_TERMS=len(down.rows), TILE=tiling.tile, PLANES=PLANES, PRECISION=_precision(x),
            **blocks,
        )  # fmt: skip


def _tile_count(tiling: Tiling) -> int:
    return len(tiling.row_tiles) * len(tiling.column_tiles)


def _precision(x: Tensor) -> str:
    return "tf32x3" if x.dtype == torch.float32 else "tf32"
