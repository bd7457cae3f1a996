"""Stage weights: which files of weights each stage reads, with their digests.

A stage depends on its own list, so it runs again when a file behind `gan.start` or in `weights/` is
replaced. What is missing is listed too, and stops the stage that reads it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lookalike.artifacts import ARTIFACTS
from lookalike.failures import last_words
from lookalike.weights import required_by_stage, status
from pipelines.parameters import parameters


def main() -> None:
    """Write `artifacts/weights/STAGE`: a digest, or what is the matter, and a name per line."""
    config = parameters("weights")
    ARTIFACTS.weights.mkdir(parents=True, exist_ok=True)
    for stage, names in required_by_stage(config).items():
        found = status(names, Path())
        lines = [f"{entry.found or entry.state}  {entry.file.name}\n" for entry in found]
        (ARTIFACTS.weights / stage).write_text("".join(lines or ["none\n"]))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.exit(last_words(error, "weights"))
