"""Names that many parts share; nothing heavy is imported, for `lookalike --help` reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

PARAMS = Path("params.yaml")  # in the repository root, where commands and stages run
BASELINE = "baseline"  # the arm of real images, with which others are compared
CHAMPION = "champion"  # the registry's aliases
PREVIOUS = "previous"  # the version that a rollback returns to
CANDIDATE = "candidate"  # the newest version, unless it was champion
THE_CHAMPION = f"@{CHAMPION}"  # instead of a version's number, as in MLflow's addresses
SHOWN = 30  # words of a list, in a line that refuses another one,
LONGEST = 60  # of which so many characters are shown


def counted(number: int, noun: str) -> str:
    """A number and what there are so many of: 1 image, 2,034 images, 3 queries, 2 classes."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def not_among(value: object, known: Iterable[object]) -> str:
    """Why a value is refused that is none of a few words."""
    told = value if isinstance(value, str) else json.dumps(value, default=str)
    return f"no such value as {' '.join(told.split())[:LONGEST]}; {meant(told, known)}"


def meant(word: object, known: Iterable[object]) -> str:
    """What to say of a word that is none of those known: which one was meant, or which there are.

    Capital letters make no difference. A long list is cut, and says so.
    """
    words = [str(one) for one in known]
    spelt = {one.casefold(): one for one in reversed(words)}
    if near := get_close_matches(str(word).casefold(), spelt, n=1):
        return f"did you mean {spelt[near[0]]}?"
    more = f" and {len(words) - SHOWN:,} more" if len(words) > SHOWN else ""
    return f"there is {', '.join(words[:SHOWN]) or 'none'}{more}"
