"""Other programs of this environment, such as dvc."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from lookalike.errors import UserError


def program(name: str) -> str:
    """The path of a command of this environment, else of the PATH.

    Raises:
        UserError: there is none.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise UserError(f"{name} is not installed here; run `make install`")
    return found


def run_program(name: str, *arguments: str) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        UserError: it is not there, or it failed; with the last line of what it said.
    """
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        said = lines[-1] if lines else f"exit status {done.returncode}"
        if name == "dvc" and braces(Path.cwd()):
            said += f"; {braces(Path.cwd())}"
        raise UserError(f"`{name} {' '.join(arguments)}` failed: {said}")
    return done.stdout


def braces(folder: Path) -> str:
    """What to do where DVC takes a part of a checkout's path for a placeholder; "" elsewhere."""
    if not {"{", "}"} & set(str(folder.resolve())):
        return ""
    return (
        "DVC stumbles over { and } in the path of its cache: rename that folder, or run "
        "`dvc cache dir --local FOLDER` with another one"
    )
