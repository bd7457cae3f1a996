"""Bring a data set into `data/`: from an archive or a folder, checked, whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lookalike.config import DATA_SET_NAME
from lookalike.data.archives import extract_archive
from lookalike.data.layouts.layout import OTHERS, Count, Layout, check_counts, count
from lookalike.data.layouts.sources import SOURCES
from lookalike.disk import files_below, is_utf8, some
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.names import counted
from lookalike.progress import say, track
from lookalike.words import meant

DEEPEST = 2  # folders above the layout: an archive's own, and one that somebody packed it in


def layout_named(name: str, **more: Layout) -> Layout:
    """The layout of an imported data set, or one of `more`.

    Raises:
        UserError: there is none of that name; lists those there are.
    """
    known = more | {str(source): SOURCES[source] for source in SOURCES if source != "rendered"}
    if name not in known:
        raise UserError(f"no layout {name!r}; {meant(name, known)}")
    return known[name]


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
            (`Market-1501-v15.09.15/`), or two. Links are followed, and their targets are copied.
        data: the folder of the main data set, or a link to it. What is there already stays as it
            is: if it is the same data, nothing happens.
        layout: of the data set.
        name: of another data set; empty for the main one.
        any_counts: do not demand the published sizes.
        dry_run: count and check, write nothing.

    Returns:
        Images and persons of each split.

    Raises:
        UserError: no such source, not the layout, unsafe archive, too large, other counts than
            published, links to nothing, names that are not UTF-8, or other data is in the place;
            nothing has changed then.
    """
    if name and (not re.fullmatch(DATA_SET_NAME, name) or name == "own"):
        raise UserError(f"{name!r} is no name for a data set: small letters, digits, -; not own")
    data = data.resolve()  # it may be a link to a larger disk
    target = (data / OTHERS / name).resolve() if name else data
    with _scratch(data) as scratch:
        unpacked, staged = scratch / "unpacked", scratch / "staged"
        if source.is_dir():
            root = _layout_root(source, layout, source)
        elif source.is_file():
            members: set[PurePosixPath] = set()

            def wanted(path: PurePosixPath) -> bool:
                members.update([path, *path.parents])
                return any(map(layout.belongs, _readings(path)))

            extract_archive(
                source,
                unpacked,
                max_bytes=layout.max_bytes,
                max_files=layout.max_files,
                only=wanted,
            )
            root = _layout_root(unpacked, layout, source, members)
        else:
            raise UserError(f"nothing at {source}; give the archive or folder of {layout.title}")
        files = _files(root, layout, source)
        found, problems = layout.scan(root)
        lost = sorted({image.path for image in found} - set(files))
        if lost:
            names = some(path.relative_to(root).as_posix() for path in lost)
            raise UserError(f"{source}: {names}: no files, though called like images")
        counts = count((image.split, image.person) for image in found)
        if not any_counts:
            check_counts(layout, counts)
        if problems:
            first = f"{problems[0].file}: {problems[0].problem}: {problems[0].detail}"
            many = counted(len(problems), "problem")
            say(f"{many}, which the stage validate will name; first {first}")
        if dry_run:
            return counts
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


@contextmanager
def _scratch(data: Path) -> Iterator[Path]:
    """A folder beside `data`, on its disk, that is gone afterwards."""
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=data.parent, prefix=f".{data.name}-")
    except OSError as error:
        raise UserError(f"cannot write beside {data}: {error.strerror}") from error
    with scratch as folder:
        yield Path(folder)


def _readings(path: PurePosixPath) -> list[PurePosixPath]:
    """A member's path as it is in the layout, if that lies at the top or in folders."""
    return [
        PurePosixPath(*path.parts[depth:])
        for depth in range(min(DEEPEST + 1, len(path.parts)))
        if not any(map(_is_aside, path.parts[:depth]))
    ]


def _is_aside(name: str) -> bool:
    """Whether a folder is a system's own, such as `__MACOSX`, which repeats all names."""
    return name.startswith((".", "__"))


def _layout_root(
    folder: Path, layout: Layout, source: Path, members: Set[PurePosixPath] = frozenset()
) -> Path:
    """`folder`, or the one folder in it, or in one of these, that has the layout.

    `members`: of the archive that `folder` was extracted from, to say what else is in it.
    """
    level, seen = [folder], set(members)
    for _ in range(DEEPEST + 1):
        having = [one for one in level if all((one / mark).exists() for mark in layout.marks)]
        if len(having) > 1:
            names = some(one.relative_to(folder).as_posix() for one in having)
            raise UserError(f"{source} has several data sets, {names}; give one of these folders")
        if having:
            return having[0]
        entries = [entry for one in level for entry in _entries(one)]
        seen |= {PurePosixPath(entry.relative_to(folder).as_posix()) for entry in entries}
        level = [entry for entry in entries if entry.is_dir() and not _is_aside(entry.name)]
    lacking, instead = ", ".join(layout.marks), _instead(seen)
    raise UserError(f"{source} has no {lacking}: {instead}; is it {layout.title}?")


def _instead(members: Set[PurePosixPath]) -> str:
    """What is there in place of a layout's marks, and which layout that is."""
    folders = {path.parent for path in members if len(path.parts) <= DEEPEST + 1}
    for name, layout in SOURCES.items():
        if name != "rendered" and any(
            all(folder / mark in members for mark in layout.marks) for folder in folders
        ):
            return f"it looks like {layout.title} (--as {name})"
    shown = sorted(
        path.as_posix()
        for path in members
        if 0 < len(path.parts) <= DEEPEST and not any(map(_is_aside, path.parts))
    )
    return f"found {some(shown)}" if shown else "it is empty"


def _files(root: Path, layout: Layout, source: Path) -> list[Path]:
    """What belongs to the layout, sorted, links followed.

    Raises:
        UserError: links to nothing, names that are not UTF-8, or more than the layout allows.
    """
    files = [
        path
        for path in files_below(root)
        if layout.belongs(PurePosixPath(path.relative_to(root).as_posix()))
    ]
    for refused, why in (
        ([path for path in files if not path.is_file()], "links to nothing; mend or remove them"),
        ([path for path in files if not is_utf8(path)], "names that are not UTF-8; rename them"),
    ):
        if refused:
            names = some(path.relative_to(root).as_posix() for path in refused)
            raise UserError(f"{source}: {names}: {why}")
    size = sum(path.stat().st_size for path in files)
    if len(files) > layout.max_files or size > layout.max_bytes:
        raise UserError(
            f"{source}: {counted(len(files), 'file')} of {size / 1e9:.1f} GB are too much for "
            f"{layout.title}"
        )
    return files


def _move_in(staged: Path, target: Path) -> None:
    """Move a folder's entries into `target`, which has nothing of their names; all or none."""
    places = [target / entry.name for entry in _entries(staged)]
    made = [path for path in (target, *target.parents) if not path.exists()]
    try:
        target.mkdir(parents=True, exist_ok=True)
        for place in places:
            shutil.move(staged / place.name, place)  # copies where the target is another disk's
    except OSError as error:
        for place in places:
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
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
        for path in (files_below(entry) if entry.is_dir() else [entry])
        if path.is_file()
    ]


def _digests(root: Path, files: list[Path]) -> dict[str, str]:
    """SHA-256 of each file by its place below `root`."""
    return {
        path.relative_to(root).as_posix(): sha256_file(path)
        for path in track(files, f"compare {root.name}", len(files))
    }
