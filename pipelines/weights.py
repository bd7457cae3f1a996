"""Stage weights: which files of weights each stage reads, with their digests.

A stage depends on its own list, so it runs again when a file behind `gan.start` or in `weights/` is
replaced. What is missing is listed too, and stops the stage that reads it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lookalike.artifacts import ARTIFACTS
from lookalike.config import load_config
from lookalike.files import write_text
from lookalike.names import PARAMS
from lookalike.weights import required_by_stage, status
from pipelines.stopped import stopped


def main() -> None:
    """Write `artifacts/weights/STAGE`: a digest, or what is the matter, and a name per line."""
    required = required_by_stage(load_config(PARAMS))
    found = {stage: status(names, Path()) for stage, names in required.items()}
    for stage, entries in found.items():
        lines = [f"{entry.found or entry.state}  {entry.file.name}\n" for entry in entries]
        write_text(ARTIFACTS.weights / stage, "".join(lines or ["none\n"]))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.exit(stopped(error, "weights"))
