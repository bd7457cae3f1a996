"""Words that were meant."""

from __future__ import annotations

import pytest

from lookalike.words import SHOWN, meant, not_among


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("unifrom", ["person", "uniform"], "did you mean uniform?"),
        ("T", ["t", "r"], "did you mean t?"),
        ("Market", ["rendered", "market1501"], "did you mean market1501?"),
        ("hat", ["hog", "yolov4-tiny"], "must be one of: hog, yolov4-tiny"),
        (3, [1, 2], "must be one of: 1, 2"),
        ("x", [], "there is none"),
        ("?", range(SHOWN + 1200), ", 28, 29 and 1,200 more"),
    ],
)
def test_a_wrong_word_is_answered_with_the_one_that_was_meant(
    word: object, known: list[object], hint: str
) -> None:
    assert meant(word, known).endswith(hint)


def test_a_wrong_value_is_told_in_one_short_line() -> None:
    assert not_among("bth", ["both"]) == "no such value as bth; did you mean both?"
    assert not_among(None, ["a"]) == "no such value as null; must be one of: a"
    assert not_among(True, ["a"]) == "no such value as true; must be one of: a"
    assert not_among(["a", True], ["b"]) == "no such value as ['a', True]; must be one of: b"
    long = not_among("a\n" * 1000, ["b"])
    assert "\n" not in long and len(long) < 100
