"""Names that many parts share; nothing heavy is imported, for `lookalike --help` reads them."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")  # in the repository root, where commands and stages run
CHAMPION = "champion"  # the registry's aliases
PREVIOUS = "previous"  # the version that a rollback returns to
CANDIDATE = "candidate"  # the newest version, unless it was champion
THE_CHAMPION = f"@{CHAMPION}"  # instead of a version's number, as in MLflow's addresses
