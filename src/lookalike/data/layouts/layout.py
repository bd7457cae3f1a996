"""What every layout has: a reader, the published figures, and which files belong to it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import quote

from lookalike.data.archives import member_path
from lookalike.disk import PICTURES, alike, files_below, some, what_is_in
from lookalike.errors import UserError
from lookalike.formats import format_of
from lookalike.names import counted

DISTRACTOR, JUNK = "0000", "-1"  # persons of the splits distractor and junk, in every manifest
SPLITS = ("train", "query", "gallery", "distractor", "junk")  # what a data set can say of an image
OTHERS = "others"  # the folder in a data set's own that holds the other data sets
WHOLE = re.compile(r"0*[1-9][0-9]{0,8}")  # a camera's number; the manifest has 32 bits for it


class Count(NamedTuple):
    """Size of a split; distractors and junk count as one person each."""

    images: int
    persons: int


class Found(NamedTuple):
    """An image of the data set, by its name and place alone."""

    path: Path
    split: str  # one of SPLITS
    person: str
    camera: int  # from 1; 0: not known
    image_id: str  # unique in the data set; no blank, colon or comma


class Problem(NamedTuple):
    """Something wrong with one file; leaving that file out mends it."""

    file: str
    problem: str  # a short kind, the same for all files with this fault
    detail: str


Scan = tuple[list[Found], list[Problem]]


@dataclass(frozen=True)
class Layout:
    """A way to lay a data set out.

    Attributes:
        title: the data set's name, for messages.
        scan: lists a folder; opens lists, but no image. Problems name files relative to it.
        marks: files and folders that the layout is recognised by.
        belongs: whether a file (relative to the layout's folder) is part of the data set.
        counts: the published sizes; None where there are none. `train` includes what `prepare`
            later splits off for validation.
        crop: width and height of every image, in pixels; None where they differ.
        names: form of the file names; None where any will do.
        max_bytes, max_files: of an archive, folders included; several times the real one's.
    """

    title: str
    scan: Callable[[Path], Scan]
    marks: tuple[str, ...]
    belongs: Callable[[PurePosixPath], bool]
    counts: Mapping[str, Count] | None = None
    crop: tuple[int, int] | None = None
    names: re.Pattern[str] | None = None
    max_bytes: int = 16 << 30
    max_files: int = 500_000


def is_image(path: Path | PurePosixPath) -> bool:
    """Whether a file counts as an image by its name."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def count(images: Iterable[tuple[str, str]]) -> dict[str, Count]:
    """Images and persons of each split; `images` are pairs of split and person."""
    persons: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, person in images:
        persons[split].append(person)
    return {split: Count(len(listed), len(set(listed))) for split, listed in persons.items()}


def check_counts(layout: Layout, found: Mapping[str, Count]) -> None:
    """Compare with the published sizes, if there are any.

    Raises:
        UserError: names each split that differs, with what was expected and what was found.
    """
    differences = [
        f"{split}: expected {counted(expected.images, 'image')} of "
        f"{counted(expected.persons, 'person')}, "
        f"found {found[split].images:,} of {found[split].persons:,}"
        for split, expected in (layout.counts or {}).items()
        if found[split] != expected
    ]
    if differences:
        raise UserError(f"not {layout.title} as published: " + "; ".join(differences))


def path_id(path: PurePosixPath) -> str:
    """An image_id from a path: without suffix, percent-encoded except for letters, `/`, `-._~`.

    Stems may repeat in folders of different persons, and a recipe (`with=<image_id>`) ends at a
    blank, a colon or a comma.
    """
    return quote(path.with_suffix("").as_posix(), safe="/", errors="surrogateescape")


def plain(text: str) -> str:
    """A label without blanks around it, its letters composed: one way to write `Müller`."""
    return unicodedata.normalize("NFC", text).strip()


def number_cameras(cameras: Iterable[str]) -> dict[str, int]:
    """A number from 1 for each camera, and 0 for `""`, which is none.

    Whole numbers stay what they are if all are. Otherwise the names are numbered in natural order
    (`cam 2` before `cam 10`).
    """
    names = set(cameras) - {""}
    if all(WHOLE.fullmatch(name) for name in names):
        return {name: int(name) for name in names} | {"": 0}

    def natural(name: str) -> list[tuple[int, int, str]]:
        parts = re.findall(r"[0-9]+|[^0-9]+", name)
        return [(0, int(p), "") if p[0] in "0123456789" else (1, 0, p) for p in parts]

    ordered = sorted(names, key=lambda name: (natural(name), name))
    return {name: number for number, name in enumerate(ordered, start=1)} | {"": 0}


def settle(found: Iterable[Found], root: Path) -> Scan:
    """Give distractors and junk their labels, and refuse persons whose name means something else.

    For layouts in which a person may have any name. `0000` is refused only where there are
    distractors: it would be one of them.
    """
    listed = list(found)
    reserved = {JUNK: "junk"}
    if any(image.split == "distractor" for image in listed):
        reserved[DISTRACTOR] = "distractors"
    sound, problems = [], []
    for image in listed:
        reason = ""
        if image.split in ("distractor", "junk"):
            image = image._replace(person=DISTRACTOR if image.split == "distractor" else JUNK)
        elif not image.person:
            reason = "nobody is named"
        elif image.person in reserved:
            reason = (
                f"{image.person} stands for {reserved[image.person]}; name the person otherwise"
            )
        elif image.person.startswith("syn-"):
            reason = f"{image.person!r}: names of generated persons begin with syn-"
        elif "/" in image.person or not image.person.isprintable():
            reason = f"{image.person!r} has a slash or a control character"
        if reason:
            file = image.path.relative_to(root).as_posix()
            problems.append(Problem(file, "bad person", reason))
        else:
            sound.append(image)
    return sound, problems


class Listed:
    """Images that a list names: each once, in the folder, and there.

    A name that only another system would take for the file's (`files.alike`) is enough where there
    is one such file.
    """

    def __init__(self, root: Path):
        self._root = root
        self._seen: set[str] = set()
        self._alike: dict[str, list[Path]] | None = None  # made when a name is not there as it is

    def find(self, text: str, line: str) -> Path | Problem:
        """The image at `text` (relative to the root), or what is wrong; `line` names the line."""
        try:
            path = member_path(text)
        except ValueError as error:
            return Problem(line, "bad path", f"{text!r}: {error}")
        file = path.as_posix()
        if not text or not path.name:
            return Problem(line, "bad path", "no file is named")
        if path.parts[0] == OTHERS:
            return Problem(line, "bad path", f"{file}: {OTHERS}/ is for other data sets")
        place = self._root / path
        try:
            there = place.is_file()
        except OSError as error:  # say, a name that is too long
            return Problem(line, "bad path", f"{file[:80]!r}: {error.strerror}")
        if not there:
            others = self._others(file)
            if len(others) > 1:
                names = some(other.relative_to(self._root).as_posix() for other in others)
                return Problem(file, "missing", f"{line} names it; it may be any of {names}")
            if not others:
                folder = place.parent
                while not folder.is_dir():
                    folder = folder.parent
                inside = folder.relative_to(self._root).as_posix()
                detail = f"{line} names it; there is {inside}/, and {what_is_in(folder)}"
                return Problem(file, "missing", detail)
            place = others[0]
            file = place.relative_to(self._root).as_posix()
        if file in self._seen:
            return Problem(file, "listed twice", f"again in {line}")
        self._seen.add(file)
        return place

    def _others(self, file: str) -> list[Path]:
        if self._alike is None:
            self._alike = {}
            for path in files_below(self._root):
                name = path.relative_to(self._root).as_posix()
                if path.is_file() and not name.startswith(f"{OTHERS}/"):
                    self._alike.setdefault(alike(name), []).append(path)
        return self._alike.get(alike(file), [])


def read_text(path: Path) -> str:
    """A list's text, in UTF-8 with or without a byte-order mark.

    Raises:
        UserError: the file is missing or has another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        found = what_is_in(path.parent)
        raise UserError(f"cannot read {path}: {error.strerror}; its folder: {found}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kind = format_of(data)
        reason = f"is {kind}" if kind.endswith("archive") else f"is not UTF-8 (byte {error.start})"
        raise UserError(f"{path} {reason}; save it as text in UTF-8") from error
