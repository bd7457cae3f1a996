"""Records that MLflow could not take: they wait on disk, in order, and are handed over later.

A training of days must not end because a server was restarted. What a stage records meanwhile lies
in `.lookalike/waiting/RUN/`, a file per record, written whole; the stage itself, the next one, or
`lookalike ui` hands it over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lookalike.files import write_text

Record = dict[str, Any]  # what to write to which run; JSON
FOLDER = Path(".lookalike/waiting")


class Waiting:
    """What waits of one stage's run; in order, with copies of the files that it is about."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __len__(self) -> int:
        return len(self._files())

    def add(self, record: Record) -> None:
        """Let a record wait behind the others; a file or folder that it names is copied."""
        files = self._files()
        number = int(files[-1].stem) + 1 if files else 1
        if record.get("path"):
            kept = self.folder / f"{number:08d}" / Path(record["path"]).name
            kept.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if Path(record["path"]).is_dir() else shutil.copy
            copy(record["path"], kept)
            record = {**record, "path": str(kept.resolve())}
        write_text(self.folder / f"{number:08d}.json", json.dumps(record))

    def hand_over(self, write: Callable[[Record], None]) -> None:
        """Write all, the oldest first; what `write` raises leaves the rest waiting.

        Killed in between, the record at hand is written twice.
        """
        for file in self._files():
            write(json.loads(file.read_text(encoding="utf-8")))
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            file.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))
