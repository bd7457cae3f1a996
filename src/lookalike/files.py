"""Files: written whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lookalike.disk import files_below

PARTIAL = ".partial-"  # before the name of a file that is being written; its suffix stays


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to: complete, it becomes `path`; failed, it is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(PARTIAL + path.name)
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_path(path: Path) -> str:
    """SHA-256 of a file, or of a folder's sorted names and file digests, links followed."""
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in filter(Path.is_file, files_below(path)):
        line = f"{file.relative_to(path).as_posix()}:{sha256_file(file)}\n"
        digest.update(os.fsencode(line))
    return digest.hexdigest()


def md5_file(path: Path) -> str:
    """MD5 of a file's bytes: DVC's digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
