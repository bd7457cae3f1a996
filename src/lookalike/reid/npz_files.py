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
OTHERWISE = (OSError, ValueError, KeyError, TypeError, RuntimeError)  # the last: say encrypted


@contextmanager
def reading(path: Path, what: str, *commands: str) -> Iterator[None]:
    """Say in one line why a file is none of ours; around what reads it, and nothing else.

    Args:
        path: the file.
        what: it should be, in a word or two.
        commands: that make one.

    Raises:
        UserError: whatever a file can do wrong to its reader.
    """
    remedy = f"{' or '.join(f'`{command}`' for command in commands)} makes one"
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"no {what} at {path}; {remedy}") from error
    except MemoryError as error:  # of a size that a file has, or merely claims
        raise UserError(f"{path} does not fit into memory, or is damaged; {remedy}") from error
    except (*DAMAGED, *OTHERWISE) as error:
        kind = format_of_file(path)
        reason = " ".join(str(error).split())[:200] if "zip" in kind else f"it is {kind}"
        if "zip" in kind and isinstance(error, DAMAGED):
            reason = f"it is damaged or cut short ({reason})"
        raise UserError(f"{path} is no {what}: {reason}; {remedy}") from error
