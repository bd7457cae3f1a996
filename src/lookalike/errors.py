"""The one exception that users are meant to see."""


class UserError(Exception):
    """Bad input, a missing file, an impossible setting: one line that says what, where, what to do.

    Entry points (`lookalike`, `pipelines/*.py`) print it without a stack trace and exit with 2.
    """
