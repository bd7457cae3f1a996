"""How a stage ends that cannot go on: why, and how to get back what DVC has deleted to run it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lookalike.artifacts import ARTIFACTS
from lookalike.errors import UserError
from lookalike.failures import last_words
from lookalike.provenance import locked_digests
from lookalike.workspace import workspace


def stopped(error: Exception, stage: str, traces: Path | None = None) -> int:
    """Say why a stage, as `dvc.yaml` calls it, ends; `last_words` says how. The exit status."""
    if isinstance(error, UserError):
        error = UserError(f"{error}{_way_back(stage)}")
    return last_words(error, stage, traces)


def _way_back(stage: str) -> str:
    """What brings back the outputs of the run before, where this one has written nothing.

    "" where nothing is gone, and in an experiment's temporary copy, which is of no more use. In a
    clone in which nothing has run nothing was deleted either: hence the "if".
    """
    folder, here = ARTIFACTS.of(stage), Path().resolve()
    with suppress(UserError):
        made = [Path(name) for name in locked_digests(here) if Path(name).is_relative_to(folder)]
        if workspace(here) == here and made and not any(path.exists() for path in made):
            back = f"`dvc checkout {stage}` brings them back"
            return f" (if DVC has deleted outputs for this run, {back})"
    return ""
