"""How a command ends that cannot go on."""

from __future__ import annotations

import traceback

from lookalike.errors import UserError
from lookalike.progress import say
from lookalike.reachable import explained


def last_words(error: Exception, before: str) -> int:
    """Say why a command ends: in one line what a user can mend, with a stack trace what not.

    Returns:
        The exit status: 2 for the user's errors and those of MLflow's store, 1 for ours.
    """
    told = error if isinstance(error, UserError) else explained(error)
    if told is not None:
        say(f"{before}: {told}")
        return 2
    say("".join(traceback.format_exception(error)).rstrip())
    return 1
