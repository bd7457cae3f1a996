"""The generated images that arms add to the real ones, and which baseline has seen them."""

from __future__ import annotations

from pathlib import Path

from lookalike.artifacts import ARTIFACTS, Filtered
from lookalike.config import ArmConfig
from lookalike.files import sha256_file, write_text


def added_manifests(arm: ArmConfig) -> list[Path]:
    """What the filter wrote about the generated images that join the real ones, a file per kind."""
    return [ARTIFACTS.filter(kind).manifest for kind in arm.images]


def note_baseline(made: Filtered, baseline: Path | None) -> None:
    """Write which baseline has seen the images that a filter has kept, if one has.

    Arms may take their labels from it, and depend on this file: the baseline is an arm itself, so
    that not every arm can depend on its model.
    """
    write_text(made.baseline, sha256_file(baseline) if baseline else "none")
