"""What a stage's inputs hold, as a digest."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lookalike.files import sha256_file
from lookalike.training.checkpoint import fingerprint


def content(thing: Path | pd.DataFrame) -> str:
    """Digest of a file, or of the images that manifest rows stand for and their labels."""
    if isinstance(thing, Path):
        return sha256_file(thing)
    return fingerprint(*zip(thing["person_id"], thing["sha256"], strict=True))
