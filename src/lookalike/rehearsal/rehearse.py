"""A rehearsal from its beginning to its report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike.config import Config
from lookalike.data.layouts.layout import Found
from lookalike.device import default_device
from lookalike.files import write_text
from lookalike.names import PARAMS
from lookalike.profiles import render
from lookalike.progress import say
from lookalike.rehearsal.estimate import data_counts
from lookalike.rehearsal.report import busy_lines, missing_lines, rows
from lookalike.rehearsal.shortened import bring_data, list_data, shorten
from lookalike.rehearsal.stages import STAND_INS, Outcome, run_stage, stages_of
from lookalike.rehearsal.stand_ins import bring_weights

FOLDER = Path(".lookalike/rehearsal")  # below the root; nothing of it is an artifact


@dataclass(frozen=True)
class Rehearsal:
    """What was found.

    Attributes:
        outcomes: of the stages, in the pipeline's order.
        table: under `report.HEAD`.
        warnings: what was made up, and what falsifies the times; a line each.
    """

    outcomes: list[Outcome]
    table: list[tuple[str, ...]]
    warnings: list[str]

    @property
    def runs(self) -> bool:
        """Whether all stages did."""
        return not any(outcome.problem for outcome in self.outcomes)


def folder_of(config: Config, root: Path) -> Path:
    """Where a profile is rehearsed, in the repository at `root`."""
    return root / FOLDER / config.profile


def rehearse(config: Config, root: Path) -> Rehearsal:
    """Run every stage for a few steps, below `FOLDER`; see `shortened.shorten`.

    A stage that fails stops no other, apart from those that lack its outputs. What lay in the
    profile's folder is deleted before; afterwards it holds the stages' logs and results.

    Raises:
        UserError: a file of the user's own is missing for which nothing can stand in.
    """
    folder = folder_of(config, root)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    images = list_data(config, root / "data")
    try:
        missing = _bring(config, images, root, folder)
        outcomes = [_tried(stage, root, folder) for stage in stages_of(config)]
    finally:  # also where somebody stops it
        for made in ("data", "weights", "artifacts", ".lookalike"):  # gigabytes of nothing
            shutil.rmtree(folder / made, ignore_errors=True)
    counts = data_counts(config, images)
    busy = busy_lines(os.getloadavg()[2], os.cpu_count() or 1)  # of a quarter of an hour
    return Rehearsal(outcomes, rows(config, counts, outcomes), missing + busy)


def _bring(config: Config, images: Sequence[Found], root: Path, folder: Path) -> list[str]:
    """Put parameters, data and weights into the folder; say what was made up, a line each."""
    short = shorten(config, default_device())
    own_data = bring_data(config, images, root / "data", folder / "data")
    stand_ins = bring_weights(short, root, folder / "weights")
    write_text(folder / STAND_INS, json.dumps(stand_ins))
    write_text(folder / PARAMS, render(short))
    missing = missing_lines(stand_ins, own_data, root / "data")
    for line in missing:
        say(line)
    return missing


def _tried(stage: str, root: Path, folder: Path) -> Outcome:
    say(f"{stage} ...")
    outcome = run_stage(stage, root, folder)
    took = outcome.problem or f"{outcome.found['seconds']:.0f} s"
    say(f"{stage}: {took}")
    return outcome
