"""Numbers with their nouns, and words that were meant."""

from __future__ import annotations

import pytest

from lookalike.names import SHOWN, counted, meant, not_among


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


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("unifrom", ["person", "uniform"], "did you mean uniform?"),
        ("T", ["t", "r"], "did you mean t?"),
        ("Market", ["rendered", "market1501"], "did you mean market1501?"),
        ("hat", ["hog", "yolov4-tiny"], "there is hog, yolov4-tiny"),
        (3, [1, 2], "there is 1, 2"),
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
    assert not_among(None, ["a"]) == "no such value as null; there is a"
    assert not_among(["a", True], ["b"]) == 'no such value as ["a", true]; there is b'
    long = not_among("a\n" * 1000, ["b"])
    assert "\n" not in long and len(long) < 100
