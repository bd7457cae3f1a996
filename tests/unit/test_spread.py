"""Positions at even distances."""

from __future__ import annotations

import pytest

from lookalike.spread import spread


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        (9, 3, [0, 4, 8]),
        (90, 4, [0, 30, 59, 89]),
        (10, 4, [0, 3, 6, 9]),
        (3, 16, [0, 1, 2]),
        (3, 3, [0, 1, 2]),
        (5, 1, [0]),
        (1, 4, [0]),
        (0, 4, []),
        (4, 0, []),
    ],
)
def test_positions(size: int, count: int, expected: list[int]) -> None:
    assert spread(size, count).tolist() == expected
