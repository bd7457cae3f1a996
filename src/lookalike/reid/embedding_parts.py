"""A folder of any size as a gallery file: by one process or several, in parts that outlive a kill.

Processes take parts in turns, each of `PART` pictures, and every part is the same whoever makes it.
The main process puts them together. Memory holds a part at a time, and the names.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lookalike.disk import pictures_in
from lookalike.errors import UserError
from lookalike.files import replacing
from lookalike.progress import Progress, say
from lookalike.reid.embedder import Embedder
from lookalike.reid.gallery import AT_ONCE, Gallery, embed_named, none_readable
from lookalike.training.checkpoint import ResumeState, fingerprint
from lookalike.training.session import Session

RESUME = Path(".lookalike/resume")
PART = 8 * AT_ONCE  # pictures

Part = tuple[list[str], dict[str, str], npt.NDArray[np.float32]]


def embed_to_file(
    folder: Path, embedder: Embedder, model: Mapping[str, str], output: Path
) -> tuple[int, dict[str, str]]:
    """Embed every picture of a folder and save the gallery, as `embed_folder` and `Gallery.save`.

    Called by each process of a launcher. A run that was killed goes on with the part that it was
    at, if the pictures' names, sizes and times and the model are what they were.

    Returns:
        How many pictures the gallery has, and those left out with the reason.

    Raises:
        UserError: no readable picture, embeddings that are not finite, or a full disk.
    """
    session, names = Session(0), pictures_in(folder)
    parts = [names[start : start + PART] for start in range(0, len(names), PART)]
    key = fingerprint(*sorted(model.items()), embedder.batch_size, folder, *_state(folder, names))
    resume = ResumeState(RESUME, f"embed-{output.stem}", key)
    done = [_read(resume.folder / f"{n}.npz") is not None for n in range(len(parts))]
    session.wait()  # all see the same parts
    if session.is_main and any(done):
        say(f"embed {folder}: {sum(done)} of {len(done)} parts are there already")
    mine = [n for n in range(len(parts)) if not done[n]][session.rank :: session.world]
    total = sum(len(parts[n]) for n in mine)
    with Progress(f"embed {folder}", total, visible=session.is_main) as progress:
        for n in mine:
            good, bad, embeddings = embed_named(folder, parts[n], embedder, model, progress)
            with replacing(resume.folder / f"{n}.npz") as partial, partial.open("wb") as stream:
                told = json.dumps([good, bad])
                np.savez(stream, embeddings=embeddings, told=told)
    session.wait()
    result = (0, dict[str, str]())
    if session.is_main:
        result = _join(folder, len(parts), resume, model, output)
        resume.discard()
    session.wait()
    return result


def _join(
    folder: Path, parts: int, resume: ResumeState, model: Mapping[str, str], output: Path
) -> tuple[int, dict[str, str]]:
    """Put parts together by way of a file, which holds the embeddings in memory's stead."""
    good: list[str] = []
    bad: dict[str, str] = {}
    with (resume.folder / "embeddings").open("wb") as stream:
        for n in range(parts):
            part = _read(resume.folder / f"{n}.npz")
            if part is None:
                raise UserError(f"part {n} of {folder} is gone from {resume.folder}; run it again")
            names, refused, embeddings = part
            good += names
            bad |= refused
            dims = embeddings.shape[1]
            stream.write(embeddings.data)
    if not good:
        raise none_readable(folder, bad)
    together = np.memmap(resume.folder / "embeddings", np.float32, "r", 0, (len(good), dims))
    Gallery(folder, tuple(good), together.view(np.ndarray), dict(model)).save(output)
    return len(good), bad


def _read(path: Path) -> Part | None:
    """A part; None where it is not there, or not whole."""
    try:
        with np.load(path, allow_pickle=False) as content:
            good, bad = json.loads(str(content["told"]))
            return good, bad, content["embeddings"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _state(folder: Path, names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Names, sizes and times: what changes when a picture does."""
    found = []
    for name in names:
        try:
            status = (folder / name).stat()
            found.append((name, status.st_size, status.st_mtime_ns))
        except OSError:  # a link to nothing
            found.append((name, 0, 0))
    return found
