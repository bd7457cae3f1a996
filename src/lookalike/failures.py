"""How a command ends that cannot go on."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from lookalike.addresses import hidden
from lookalike.errors import UserError
from lookalike.files import write_text
from lookalike.progress import say
from lookalike.reachable import explained

# What the system can have against a file, and what helps.
_FILES = {
    errno.ENOENT: "its folder, or the file itself, is not there",
    errno.EACCES: "choose a place that you may write to, or change its permissions",
    errno.EPERM: "choose a place that you may write to, or change its permissions",
    errno.EROFS: "choose another place",
    errno.ENOTDIR: "a file is where a folder should be; choose another name",
    errno.EISDIR: "a folder is where a file should be; choose another name",
    errno.EEXIST: "choose another name, or move what is there away",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
}


def _of_a_file(error: Exception) -> str | None:
    """Why a file cannot be read or written, in one line; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _FILES:
        return None
    name = "" if error.filename is None else f"{error.filename}: "
    return f"{name}{(error.strerror or '').lower()}: {_FILES[error.errno]}"


def last_words(error: Exception, before: str, traces: Path | None = None) -> int:
    """Say why a command ends: in one line what a user can mend, with a stack trace what not.

    What the system has against a file may be an error of ours as well, deep inside a stage: where
    `traces` is a folder, the line names a file there with the trace.

    Returns:
        The exit status: 2 for the user's errors and those of MLflow's store, 1 for ours.
    """
    told = str(error) if isinstance(error, UserError) else explained(error)
    if told is None and (told := _of_a_file(error)) is not None and traces is not None:
        told += _kept(error, traces / f"{before.replace('@', '-')}.txt")
    if told is not None:
        say(f"{before}: {told}")
        return 2
    say(_trace(error))
    return 1


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def _kept(error: Exception, path: Path) -> str:
    """Write the trace to a file, and say where; "" where that fails, say on a full disk."""
    try:
        write_text(path, hidden(_trace(error)) + "\n")
    except OSError:
        return ""
    return f" (where it happened: {path})"
