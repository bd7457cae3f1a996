"""The generated images that arms add to the real ones, and which baseline has seen them."""

from __future__ import annotations

from pathlib import Path

from lookalike.config import ArmConfig
from lookalike.files import sha256_file, write_text
from pipelines.stage import ARTIFACTS


def added_manifests(arm: ArmConfig) -> list[Path]:
    """What the filter wrote about the generated images that join the real ones, a file per kind."""
    return [ARTIFACTS / "filter" / kind / "manifest.parquet" for kind in arm.images]


def note_baseline(manifest: Path, baseline: Path | None) -> None:
    """Beside what `added_manifests` names, write which baseline has seen those images, if one has.

    Arms may take their labels from it, and depend on this file: the baseline is an arm itself, so
    that not every arm can depend on its model.
    """
    write_text(manifest.with_name("baseline.txt"), sha256_file(baseline) if baseline else "none")
