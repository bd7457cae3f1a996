"""What to say of a word that is none of those known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 30  # words of a list, in a line that refuses another one,
LONGEST = 60  # of which so many characters are shown


def not_among(value: object, known: Iterable[object]) -> str:
    """Why a value is refused that is none of a few words; as YAML writes it, if it is a scalar."""
    scalar = value is None or isinstance(value, bool | int | float)
    told = json.dumps(value) if scalar else str(value)
    return f"no such value as {' '.join(told.split())[:LONGEST]}; {meant(told, known)}"


def meant(word: object, known: Iterable[object]) -> str:
    """What to say of a word that is none of those known: which one was meant, or which there are.

    A long list is cut, and says so.
    """
    words = [str(one) for one in known]
    if near := nearest(word, words):
        return f"did you mean {near}?"
    if not words:
        return "there is none"
    more = f" and {len(words) - SHOWN:,} more" if len(words) > SHOWN else ""
    return f"must be one of: {', '.join(words[:SHOWN])}{more}"


def nearest(word: object, known: Iterable[object]) -> str | None:
    """The known word that was meant, whatever its capital letters; None if none is like it."""
    spelt = {str(one).casefold(): str(one) for one in reversed(list(known))}
    near = get_close_matches(str(word).casefold(), spelt, n=1)
    return spelt[near[0]] if near else None
