"""Parts that are found by the names of their files: a module each, in a package of their own."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

SOURCE = Path(__file__).parents[1]


def parts(package: str) -> tuple[str, ...]:
    """What a package has, sorted, with hyphens as parameters write them; nothing is imported.

    Args:
        package: `lookalike.filtering.detectors`. Where this stands in the code of a stage, the
            stage depends on all of the package's files.
    """
    folder = SOURCE.joinpath(*package.split("."))
    return tuple(sorted(found.name.replace("_", "-") for found in iter_modules([str(folder)])))


def part(package: str, name: str) -> ModuleType:
    """One of `parts`, imported."""
    return import_module(f"{package}.{name.replace('-', '_')}")
