"""How a command ends that cannot go on."""

from __future__ import annotations

import errno
import traceback

from lookalike.errors import UserError
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


def last_words(error: Exception, before: str) -> int:
    """Say why a command ends: in one line what a user can mend, with a stack trace what not.

    Returns:
        The exit status: 2 for the user's errors and those of MLflow's store, 1 for ours.
    """
    told = error if isinstance(error, UserError) else explained(error) or _of_a_file(error)
    if told is not None:
        say(f"{before}: {told}")
        return 2
    say("".join(traceback.format_exception(error)).rstrip())
    return 1
