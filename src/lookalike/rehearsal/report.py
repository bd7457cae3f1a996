"""What a rehearsal found, as a table for the terminal and the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lookalike.config import Config
from lookalike.data.layouts.layout import Count
from lookalike.rehearsal.estimate import amounts, crop_cache_bytes
from lookalike.rehearsal.stages import GIB, Outcome
from lookalike.report.tables import NONE, Table

HEAD = (
    "stage",
    "runs",
    "rehearsed s",
    "host GiB",
    "device GiB",
    "images/s",
    "s a step",
    "real images",
    "hours",
    "disk GB",
)


def rows(
    config: Config, counts: Mapping[str, Count], outcomes: Sequence[Outcome]
) -> list[tuple[str, ...]]:
    """A row per stage under `HEAD`, and the sums; hours and disk are those of the real run.

    A step is one of the profile's whole batches.
    """
    of = amounts(config, counts)
    batches = {
        "train_reid": config.reid.batch_size,
        "train_gan": config.gan.batch_size,
        "train_encoder": config.encoder.batch_size,
    }
    table = []
    for outcome in outcomes:
        if outcome.problem:
            table.append((outcome.stage, f"no: {outcome.problem}", *[""] * (len(HEAD) - 2)))
            continue
        found, amount = outcome.found, of[outcome.stage]
        pace, step, number = "", "", ""
        if outcome.main is not None and outcome.main[1].each:
            name, done = outcome.main
            pace = _three_digits(1 / done.each)
            batch = batches.get(outcome.stage.partition("@")[0])
            step = _three_digits(batch * done.each) if batch else ""
            number = f"{amount[name]:,}" if name in amount else ""
        disk = outcome.real_bytes(amount) + found["resume_bytes"]
        table.append(
            (
                outcome.stage,
                "yes",
                f"{found['seconds']:.0f}",
                f"{found['host_bytes'] / GIB:.1f}",
                f"{found['device_gib']:.1f}" if found["device_gib"] else "",
                pace,
                step,
                number,
                _three_digits(outcome.real_seconds(amount) / 3600),
                f"{disk / 1e9:.2f}",
            )
        )
    table.append(_sums(config, counts, outcomes))
    return table


def _three_digits(number: float) -> str:
    """As people write it: 4,420 and 0.171, and no powers of ten."""
    if number >= 100:
        return f"{number:,.0f}"
    return np.format_float_positional(number, precision=3, fractional=False, trim="-")


def _sums(
    config: Config, counts: Mapping[str, Count], outcomes: Sequence[Outcome]
) -> tuple[str, ...]:
    of = amounts(config, counts)
    ran = [outcome for outcome in outcomes if not outcome.problem]
    hours = sum(o.real_seconds(of[o.stage]) for o in ran) / 3600
    # DVC's cache has a copy of what stages write, unless the file system shares blocks.
    disk = 2 * sum(o.real_bytes(of[o.stage]) for o in ran)
    disk += sum(o.found["resume_bytes"] for o in ran) + crop_cache_bytes(config, counts)
    return (
        "together",
        "yes" if len(ran) == len(outcomes) else f"{len(ran)} of {len(outcomes)}",
        f"{sum(o.found['seconds'] for o in ran):.0f}",
        f"{max((o.found['host_bytes'] for o in ran), default=0) / GIB:.1f}",
        f"{max((o.found['device_gib'] for o in ran), default=0):.1f}",
        "",
        "",
        "",
        _three_digits(hours),
        f"{disk / 1e9:.0f}",
    )


def markdown(table: Sequence[tuple[str, ...]]) -> str:
    """The table for a page."""
    return Table(HEAD, [[cell or NONE for cell in row] for row in table]).markdown()


def busy_lines(load: float, cores: int) -> list[str]:
    """What other work on the machine did to the times, if it did.

    Args:
        load: processes that wanted a core, on average.
        cores: that there are.
    """
    if load <= 1.5 * cores:  # one of ours and its helpers
        return []
    return [
        f"BUSY MACHINE: {load:.0f} processes wanted its {cores} cores; "
        "hours and images/s are those of such a machine, alone it is faster"
    ]


def missing_lines(stand_ins: Sequence[str], own_data: bool, data: Path) -> list[str]:
    """What the rehearsal had to make up, loudly."""
    lines = []
    if not own_data:
        lines.append(f"NOT YOUR DATA: {data} lacks the data set; rendered pedestrians stood in")
    lines += [
        f"RANDOM WEIGHTS stood in for {name}: `lookalike weights` says where to get them"
        for name in stand_ins
    ]
    return lines
