"""What a stage does first: read the parameters, or say what is wrong with them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lookalike.artifacts import ARTIFACTS
from lookalike.config import Config, load_config
from lookalike.errors import UserError
from lookalike.names import PARAMS
from lookalike.provenance import locked_digests
from lookalike.workspace import workspace


def parameters(stage: str) -> Config:
    """All parameters, for a stage as `dvc.yaml` calls it.

    Raises:
        UserError: they are missing or wrong; the line ends with how to get the stage's outputs
            back, if DVC has deleted them to run it.
    """
    try:
        return load_config(PARAMS)
    except UserError as error:
        raise UserError(f"{error}{_way_back(stage)}") from error


def _way_back(stage: str) -> str:
    """Nothing in an experiment's temporary copy, which is of no more use, and in a first run."""
    folder, here = ARTIFACTS.of(stage), Path().resolve()
    with suppress(UserError):
        made = [Path(name) for name in locked_digests(here) if Path(name).is_relative_to(folder)]
        if workspace(here) == here and not all(path.exists() for path in made):
            return f" (`dvc checkout {stage}` brings back what DVC has deleted for this run)"
    return ""
