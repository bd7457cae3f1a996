"""Names that many parts share; nothing heavy is imported, for `lookalike --help` reads them."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")  # in the repository root, where commands and stages run
BASELINE = "baseline"  # the arm of real images, with which others are compared
CHAMPION = "champion"  # the registry's aliases
PREVIOUS = "previous"  # the version that a rollback returns to
CANDIDATE = "candidate"  # the newest version, unless it was champion
THE_CHAMPION = f"@{CHAMPION}"  # instead of a version's number, as in MLflow's addresses


def counted(number: int, noun: str) -> str:
    """A number and what there are so many of: 1 image, 2,034 images, 3 queries, 2 classes."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"
