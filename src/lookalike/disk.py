"""Folders as people have them: with links, and with names that need care."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from lookalike.errors import UserError

SHOWN = 4  # names in a message
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})  # by suffix, in any case


def files_below(folder: Path) -> list[Path]:
    """Every file in and below a folder, sorted by path, links to files and folders followed.

    Links to nothing are listed like files, so that nobody misses them. A link back to a folder
    that it lies in is not entered.

    Raises:
        UserError: a folder cannot be read.
    """
    return list(_walk(folder, frozenset()))


def pictures_in(folder: Path) -> list[str]:
    """The pictures of a folder and the folders in it, sorted, with forward slashes; links followed.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        what = f"{folder} is a file, not a folder" if folder.exists() else f"no folder at {folder}"
        raise UserError(what)
    return sorted(
        path.relative_to(folder).as_posix()
        for path in files_below(folder)
        if path.suffix.lower() in PICTURES
    )


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.is_dir():
                yield from _walk(folder / entry.name, above | {real})
            elif entry.is_file() or entry.is_symlink():
                yield folder / entry.name
    except OSError as error:
        raise UserError(f"cannot read {printable(str(folder))}: {error.strerror}") from error


def linked_folders(folder: Path) -> list[Path]:
    """The links to folders in and below a folder, sorted; none of them is followed."""
    return sorted(
        Path(place, name)
        for place, folders, _ in os.walk(folder)
        for name in folders
        if Path(place, name).is_symlink()
    )


def is_utf8(path: Path | str) -> bool:
    """Whether a name on the disk is UTF-8, as tables, JSON and DVC need it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    r"""A name for messages and tables: bytes that are not UTF-8 as `\xe4`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def alike(name: str) -> str:
    """What two names have in common that mean the same file on one system or another.

    Letters composed (macOS writes `u` and two dots), small (Windows does not tell them apart), and
    a suffix once (`.jpg.jpg`, from Windows with suffixes hidden).
    """
    small = unicodedata.normalize("NFC", name).casefold()
    suffix = small[small.rfind(".") :] if "." in small else ""
    while suffix and small.endswith(suffix * 2):
        small = small.removesuffix(suffix)
    return small


def some(names: Iterable[str]) -> str:
    """The first few of many names, for a message."""
    listed = [printable(name) for name in names]
    more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def what_is_in(folder: Path) -> str:
    """What a folder holds, for messages about what it does not hold."""
    if not folder.is_dir():
        return "there is no such folder"
    names = [
        f"{entry.name}/" if entry.is_dir() else entry.name
        for entry in sorted(folder.iterdir())
        if not entry.name.startswith(".")
    ]
    return f"it holds {some(names)}" if names else "it is empty"
