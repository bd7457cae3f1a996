"""Linear maps of planes along both axes: upsampling, downsampling, blurring.

Each is a sum of products ``rows @ plane @ columns.T`` with small banded matrices. On a CPU a wide
matrix is cut into blocks of rows that are multiplied with the few columns they touch.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from lookalike.stylegan3.filters import (
    Array,
    downsample_matrix,
    separable_terms,
    upsample_matrix,
)
from lookalike.stylegan3.layers import full_precision

BLOCK = 32
"""Samples per block at the higher of two rates that differ by 2. Smaller blocks skip more zeros,
larger ones use the matrix product better, which likes multiples of 16."""

Blocks = tuple[tuple[slice, slice], ...]
"""(rows, columns) of a banded matrix outside which it is zero."""

Spans = tuple[tuple[int, int], ...]
"""For every output the range of inputs on which it depends, empty if there are none."""


class Resampler(nn.Module):
    """A linear map of planes: the sum over terms of ``rows[t] @ plane @ columns[t].T``.

    ``rows`` is [terms, out_height, in_height] and ``columns`` [terms, out_width, in_width].
    Separable filters have one term, radial ones a few. The matrices follow the module's device
    and precision and are never stored: they depend on the canvas.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows.contiguous(), persistent=False)
        self.register_buffer("columns", columns.contiguous(), persistent=False)
        self.out_size = (rows.shape[1], columns.shape[1])
        self.in_size = (rows.shape[2], columns.shape[2])
        # Of both axes, rows first.
        self.spans = _spans(rows), _spans(columns)
        self.adjoint_spans = _spans(rows.mT), _spans(columns.mT)
        self._blocks = tuple(map(_blocks, self.spans, self.in_size))
        self._adjoint_blocks = tuple(map(_blocks, self.adjoint_spans, self.out_size))

    def forward(self, planes: Tensor) -> Tensor:
        """Map planes [count, *in_size] to [count, *out_size]; differentiable to any order."""
        result: Tensor = _Resample.apply(planes, self, False)  # type: ignore[no-untyped-call]
        return result

    def resample(self, lines: Tensor, adjoint: bool = False) -> Tensor:
        """The map of planes that lie line by line, without derivatives.

        ``lines`` [in_height, count, in_width] become [out_height, count, out_width], the adjoint
        maps the other way. In this order both products are single large ones of matrices, however
        small and many the planes.
        """
        return self.prepare(lines.dtype, adjoint)(lines)

    def prepare(self, dtype: torch.dtype, adjoint: bool = False) -> Callable[[Tensor], Tensor]:
        """``resample`` for many groups of planes: the matrices are cast and cut only once."""
        rows, columns = self.rows.to(dtype), self.columns.to(dtype)
        row_blocks, column_blocks = self._adjoint_blocks if adjoint else self._blocks
        if adjoint:
            rows, columns = rows.mT, columns.mT
        # The product along the rows is the faster one: it takes the axis when it is longer.
        columns_first = columns.shape[1] > columns.shape[2]
        terms = [
            (_Banded(row, row_blocks), _Banded(column, column_blocks))
            for row, column in zip(rows, columns, strict=True)
        ]

        def term(lines: Tensor, row: _Banded, column: _Banded) -> Tensor:
            if columns_first:
                return row.along_rows(column.along_columns(lines))
            return column.along_columns(row.along_rows(lines))

        def apply(lines: Tensor) -> Tensor:
            with full_precision(lines):
                total = term(lines, *terms[0])
                for bands in terms[1:]:
                    total += term(lines, *bands)
            return total

        return apply


class _Banded:
    """A matrix [out, in] cut into the blocks outside which it is zero; on a GPU it stays whole."""

    def __init__(self, matrix: Tensor, blocks: Blocks) -> None:
        self.matrix = matrix
        self.pieces = []
        if len(blocks) > 1 and matrix.device.type == "cpu":
            self.pieces = [(out, into, matrix[out, into]) for out, into in blocks]

    def along_rows(self, lines: Tensor) -> Tensor:
        """Applied to [in, count, width]: [out, count, width]."""
        flat = lines.flatten(1)
        if self.pieces:
            result = flat.new_empty(len(self.matrix), flat.shape[1])
            for out, into, piece in self.pieces:
                torch.mm(piece, flat[into], out=result[out])
        else:
            result = self.matrix @ flat
        return result.view(-1, *lines.shape[1:])

    def along_columns(self, lines: Tensor) -> Tensor:
        """Applied to [height, count, in]: [height, count, out]."""
        flat = lines.flatten(0, 1)
        if self.pieces:
            result = flat.new_empty(len(flat), len(self.matrix))
            for out, into, piece in self.pieces:
                torch.mm(flat[:, into], piece.T, out=result[:, out])
        else:
            result = flat @ self.matrix.T
        return result.view(*lines.shape[:2], -1)


class _Resample(Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, resampler: Resampler, adjoint: bool) -> Tensor:
        ctx.resampler, ctx.adjoint = resampler, adjoint
        lines = planes.transpose(0, 1).contiguous()
        return resampler.resample(lines, adjoint).transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return (
            _Resample.apply(grad, ctx.resampler, not ctx.adjoint),  # type: ignore[no-untyped-call]
            None,
            None,
        )


def _spans(matrices: Tensor) -> Spans:
    """Of matrices [terms, out, in], the same for all terms."""
    used = (matrices != 0).any(0)
    size = used.shape[1]
    first = used.int().argmax(1)
    end = size - used.flip(1).int().argmax(1)
    return tuple(
        (low, high) if touched else (0, 0)
        for low, high, touched in zip(
            first.tolist(), end.tolist(), used.any(1).tolist(), strict=True
        )
    )


def _blocks(spans: Spans, in_size: int) -> Blocks:
    """Cut a banded matrix into blocks of rows."""
    size = len(spans)
    step = BLOCK if size >= in_size else BLOCK // 2
    blocks = []
    for start, end in pairwise([*range(0, size, step), size]):
        touched = [span for span in spans[start:end] if span[0] < span[1]]
        low = min((low for low, _ in touched), default=0)
        high = max((high for _, high in touched), default=1)
        blocks.append((slice(start, end), slice(low, high)))
    return tuple(blocks)


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
