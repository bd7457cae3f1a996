"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from lookalike.names import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2034, "image", "2,034 images"),
        (1, "query", "1 query"),
        (2, "query", "2 queries"),
        (2, "class", "2 classes"),
        (3, "match", "3 matches"),
        (2, "day", "2 days"),
        (1, "train image", "1 train image"),
    ],
)
def test_a_noun_agrees_with_its_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
