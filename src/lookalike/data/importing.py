"""Bring a data set into `data/`: from an archive or a folder, checked, whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from lookalike.config import DATA_SET_NAME
from lookalike.data.archives import extract_archive
from lookalike.data.layouts.layout import OTHERS, Count, Layout, check_counts, count
from lookalike.data.layouts.sources import SOURCES
from lookalike.data.manifest import sha256_file
from lookalike.errors import UserError
from lookalike.progress import say, track


def layout_named(name: str) -> Layout:
    """The layout of an imported data set.

    Raises:
        UserError: there is none of that name; lists those there are.
    """
    known = {source: layout for source, layout in SOURCES.items() if source != "rendered"}
    if name not in known:
        raise UserError(f"no layout {name!r}; give --as {', '.join(known)}")
    return known[name]  # type: ignore[index]


def import_dataset(
    source: Path,
    data: Path,
    layout: Layout,
    *,
    name: str = "",
    any_counts: bool = False,
    dry_run: bool = False,
) -> dict[str, Count]:
    """Bring a data set's files into `data`, or beside it into `data/others/NAME`.

    Files keep the layout's own names and places; what does not belong to it is left behind. The
    main data set and the others never touch each other.

    Args:
        source: an archive (zip, tar, tar.gz) or a folder; the layout may lie one folder deeper
            (`Market-1501-v15.09.15/`).
        data: the folder of the main data set. What is there already stays as it is: if it is the
            same data, nothing happens.
        layout: of the data set.
        name: of another data set; empty for the main one.
        any_counts: do not demand the published sizes.
        dry_run: count and check, write nothing.

    Returns:
        Images and persons of each split.

    Raises:
        UserError: no such source, not the layout, unsafe archive, too large, other counts than
            published, or other data is in the place; nothing has changed then.
    """
    if name and (not re.fullmatch(DATA_SET_NAME, name) or name == "own"):
        raise UserError(f"{name!r} is no name for a data set: small letters, digits, -; not own")
    target = data / OTHERS / name if name else data
    data.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data.parent, prefix=f".{data.name}-") as scratch:
        unpacked, staged = Path(scratch, "unpacked"), Path(scratch, "staged")
        if source.is_dir():
            root = _layout_root(source, layout, source)
        elif source.is_file():
            extract_archive(
                source,
                unpacked,
                max_bytes=layout.max_bytes,
                max_files=layout.max_files,
                only=lambda path: any(map(layout.belongs, _readings(path))),
            )
            root = _layout_root(unpacked, layout, source)
        else:
            raise UserError(f"nothing at {source}; give the archive or folder of {layout.title}")
        found, problems = layout.scan(root)
        counts = count((image.split, image.person) for image in found)
        if not any_counts:
            check_counts(layout, counts)
        if problems:
            first = f"{problems[0].file}: {problems[0].problem}: {problems[0].detail}"
            say(f"{len(problems):,} problems, which the stage validate will name; first {first}")
        if dry_run:
            return counts
        files = _files(root, layout, source)
        present = [entry for entry in _entries(target) if name or entry.name != OTHERS]
        if present:
            if _digests(target, _below(present)) != _digests(root, files):
                raise UserError(f"{target} holds other data; move it away, then import again")
            say(f"{target} holds this data already; nothing to do")
        else:
            place = shutil.move if root.is_relative_to(scratch) else shutil.copyfile
            for file in track(files, "copy", len(files)):
                copy = staged / file.relative_to(root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                try:
                    place(file, copy)
                except OSError as error:
                    raise UserError(f"cannot copy {file}: {error}") from error
            _move_in(staged, target)
    return counts


def _readings(path: PurePosixPath) -> list[PurePosixPath]:
    """A member's path if the layout lies at the top, and if it lies one folder deeper."""
    first, *rest = path.parts
    return [path, PurePosixPath(*rest)] if rest and not first.startswith((".", "__")) else [path]


def _layout_root(folder: Path, layout: Layout, source: Path) -> Path:
    """`folder` itself or the one folder in it that has the layout."""
    nested = [path for path in _entries(folder) if path.is_dir()]
    for candidate in [folder, *nested]:
        if all((candidate / mark).exists() for mark in layout.marks):
            return candidate
    raise UserError(f"{source} has no {', '.join(layout.marks)}; is it {layout.title}?")


def _files(root: Path, layout: Layout, source: Path) -> list[Path]:
    """What belongs to the layout, sorted, links followed; refuses more than the layout allows."""
    files = [
        path
        for path in sorted(root.rglob("*"))
        if layout.belongs(PurePosixPath(path.relative_to(root).as_posix())) and path.is_file()
    ]
    size = sum(path.stat().st_size for path in files)
    if len(files) > layout.max_files or size > layout.max_bytes:
        raise UserError(
            f"{source}: {len(files):,} files of {size / 1e9:.1f} GB are too much for {layout.title}"
        )
    return files


def _move_in(staged: Path, target: Path) -> None:
    """Move a folder's entries into `target`, which has nothing of their names; all or none."""
    moved: list[Path] = []
    made = [path for path in (target, *target.parents) if not path.exists()]
    try:
        target.mkdir(parents=True, exist_ok=True)
        for entry in _entries(staged):
            moved.append(entry.rename(target / entry.name))
    except OSError as error:
        for entry in moved:
            entry.rename(staged / entry.name)
        for folder in made:
            if folder.is_dir():
                folder.rmdir()
        raise UserError(f"cannot write to {target}: {error}") from error


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _below(entries: Iterable[Path]) -> list[Path]:
    """Every file in and below `entries`, hidden ones and all."""
    return [
        path
        for entry in entries
        for path in ([entry] if entry.is_file() else sorted(entry.rglob("*")))
        if path.is_file()
    ]


def _digests(root: Path, files: list[Path]) -> dict[str, str]:
    """SHA-256 of each file by its place below `root`."""
    return {
        path.relative_to(root).as_posix(): sha256_file(path)
        for path in track(files, f"compare {root.name}", len(files))
    }
