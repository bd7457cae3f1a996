"""Resume state: where a killed training goes on.

Resume state lives in `.lookalike/resume/`, outside DVC, under a fingerprint of everything that
determines the training: DVC deletes a stage's outputs before it runs, and an output that persists
would carry stale state across a change of parameters.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Set
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from lookalike.errors import UserError
from lookalike.files import replacing, write_text
from lookalike.progress import say

RESUME_VERSION = 3  # of what trainers save; raise it when they cannot go on from an old state


def fingerprint(*parts: object) -> str:
    """Twelve hexadecimal digits that stand for configuration and data (printable parts)."""
    return hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()[:12]


class ResumeState:
    """Where a training run can be picked up again after a kill.

    Args:
        root: the folder of all resume states, say `.lookalike/resume`.
        stage: name of the stage, say `train_gan`.
        fingerprint: of configuration, data and starting weights.
    """

    def __init__(self, root: Path, stage: str, fingerprint: str):
        self.root, self.stage = root, stage
        # Of one stage: `train_reid-persons` has nothing to do with `train_reid-persons-few`.
        self.pattern = f"{stage}-" + "?" * len(fingerprint)
        self.folder = root / f"{stage}-{fingerprint}"
        self.path, self.kept = self.folder / "state.pt", self.folder / "kept"
        self._told = self.folder / "told"

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state atomically (tensors, numbers, strings, lists and dicts).

        Raises:
            UserError: it cannot be written there, most likely for want of space.
        """
        try:
            with replacing(self.path) as partial, partial.open("wb") as stream:
                torch.save({**state, "version": RESUME_VERSION}, stream)
                stream.flush()
                os.fsync(stream.fileno())
        except RuntimeError as error:  # what PyTorch's writer makes of a full disk names nothing
            if not any(name in str(error) for name in ("inline_container", "PytorchStreamWriter")):
                raise
            raise UserError(
                f"cannot write {self.path}; look at its folder, its rights and the free space"
            ) from error

    def load(self, names: Set[str] = frozenset()) -> dict[str, Any] | None:
        """The saved state, on the CPU, or None to start afresh; says which, and why.

        `names`: what it must consist of; a state of other parts is another version's.
        """
        if not self.path.is_file():
            others = sorted(set(self.root.glob(self.pattern)) - {self.folder})
            if others:
                say(f"{self.stage}: parameters or data changed since {others[0].name}; fresh start")
                for other in others:
                    shutil.rmtree(other, ignore_errors=True)  # or another process did
            return None
        try:
            # Not to a device: what fails here is the file, never a lack of memory there.
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, UnpicklingError, EOFError, OSError, ValueError):
            say(f"{self.stage}: {self.path} is damaged; fresh start")
            return None
        version = state.pop("version", 1)
        if version != RESUME_VERSION or (names and state.keys() != names):
            say(f"{self.stage}: {self.path} is another version's; fresh start")
            return None
        say(f"{self.stage}: resuming at {state.get('images_seen', '?')} images")
        return state

    def tell(self, images_seen: int) -> None:
        """Note that the tracker has all points of the state that was saved there."""
        write_text(self._told, str(images_seen))

    def told(self, images_seen: int) -> bool:
        """Whether that was noted."""
        return self._told.is_file() and self._told.read_text() == str(images_seen)

    def keep(self, path: Path) -> None:
        """Keep a copy of a file that the run wrote on the way and will not write again."""
        self.kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, self.kept / path.name)

    def restore(self, folder: Path) -> None:
        """Put the kept files back; DVC has deleted them if the stage was killed."""
        if self.kept.is_dir():
            shutil.copytree(self.kept, folder, dirs_exist_ok=True)

    def discard(self) -> None:
        """Forget the state: the run is complete and its model written."""
        shutil.rmtree(self.folder, ignore_errors=True)
