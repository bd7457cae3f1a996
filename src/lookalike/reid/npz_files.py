"""Why an npz file cannot be read, in one line: NumPy, zip and zlib have many ways to say so."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.errors import UserError
from lookalike.formats import format_of_file

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, tokenize.TokenError, SyntaxError)
# RuntimeError: encrypted or compressed otherwise; MemoryError: of a size that a file merely claims
OTHERWISE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError)


@contextmanager
def reading(path: Path, what: str, command: str) -> Iterator[None]:
    """Say in one line why a file is none of ours.

    Args:
        path: the file.
        what: it should be, in a word.
        command: that makes one.

    Raises:
        UserError: whatever goes wrong inside.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"no {what} at {path}; `{command}` makes one") from error
    except (*DAMAGED, *OTHERWISE) as error:
        kind = format_of_file(path)
        reason = " ".join(str(error).split())[:200] if "zip" in kind else f"it is {kind}"
        if "zip" in kind and isinstance(error, DAMAGED):
            reason = f"it is damaged or cut short ({reason})"
        raise UserError(f"{path} is no {what}: {reason}; `{command}` makes one") from error
