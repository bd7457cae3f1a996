from __future__ import annotations

import pytest

from lookalike.rehearsal.report import _three_digits


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (4424.6, "4,425"),
        (100, "100"),
        (99.96, "100"),
        (12.72, "12.7"),
        (8.33e-5, "0.0000833"),
        (0, "0"),
    ],
)
def test_numbers_are_as_people_write_them(number: float, text: str) -> None:
    assert _three_digits(number) == text
