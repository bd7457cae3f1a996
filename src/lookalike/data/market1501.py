"""Market-1501 (Zheng et al. 2015): its layout, its file names, its import.

Layout: `bounding_box_train`, `query` and `bounding_box_test` full of crops named
`0001_c1s1_001051_00.jpg`: person, camera, sequence, frame, box. In `bounding_box_test`, person
`0000` marks distractors (valid negatives) and `-1` junk (neither hit nor miss).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lookalike.data.archives import extract_archive, staging
from lookalike.data.manifest import sha256_file
from lookalike.errors import UserError
from lookalike.progress import say

FOLDERS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
DISTRACTOR, JUNK = "0000", "-1"
CROP_WIDTH, CROP_HEIGHT = 64, 128  # pixels
MAX_BYTES = 4 << 30  # twenty times the real archive
MAX_FILES = 250_000  # the real archive holds about 68,000, `gt_bbox` and `gt_query` included
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}

# A person is any label without an underscore (other data sets have their own) except those of
# synthetic persons. The camera may be missing, so that its absence can be told from a foreign name.
NAME = re.compile(
    r"(?P<person>-1|(?!syn-)[A-Za-z0-9][A-Za-z0-9-]*)"
    r"_(?:c(?P<camera>\d+))?s(?P<sequence>\d+)_(?P<frame>\d+)_(?P<box>\d+)\.jpg"
)


class Count(NamedTuple):
    """Size of a split; distractors and junk count as one person each."""

    images: int
    persons: int


# The published sizes. `train` includes what `prepare` later splits off for validation.
PUBLISHED_COUNTS: Mapping[str, Count] = {
    "train": Count(12_936, 751),
    "query": Count(3_368, 750),
    "gallery": Count(13_115, 750),
    "distractor": Count(2_798, 1),
    "junk": Count(3_819, 1),
}


@dataclass(frozen=True)
class ImageName:
    """What a file name says."""

    person: str
    camera: int  # from 1; 0: the name has none
    sequence: int
    frame: int
    box: int

    def __str__(self) -> str:
        """The name that is read back as this, in Market-1501's digits."""
        camera = f"c{self.camera}" if self.camera else ""
        return f"{self.person}_{camera}s{self.sequence}_{self.frame:06d}_{self.box:02d}.jpg"


def parse_name(name: str) -> ImageName | None:
    """Read a file name; None if it is not in Market-1501's form."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    return ImageName(
        person=match["person"],
        camera=int(match["camera"] or 0),
        sequence=int(match["sequence"]),
        frame=int(match["frame"]),
        box=int(match["box"]),
    )


class Found(NamedTuple):
    """An image of the data set, by its name and place alone."""

    path: Path
    split: str
    name: ImageName


class Problem(NamedTuple):
    """Something wrong with one file; leaving that file out mends it."""

    file: str
    problem: str  # a short kind, the same for all files with this fault
    detail: str


def scan(root: Path) -> tuple[list[Found], list[Problem]]:
    """List a folder in Market-1501's layout, sorted by path; nothing is opened.

    Files that are no images (`Thumbs.db`) and hidden ones do not count. An image whose name cannot
    be read, and junk or distractors outside the gallery, become problems (file relative to `root`).

    Raises:
        UserError: one of the three folders is missing or has no image.
    """
    found: list[Found] = []
    problems: list[Problem] = []
    for folder, split in FOLDERS.items():
        if not (root / folder).is_dir():
            raise UserError(f"{root} has no folder {folder}; is it Market-1501's layout?")
        paths = sorted(path for path in (root / folder).iterdir() if is_image(path))
        if not paths:
            raise UserError(f"{root / folder} has no images; is the data complete?")
        for path in paths:
            name = parse_name(path.name)
            file = path.relative_to(root).as_posix()
            if name is None:
                form = ImageName("0001", 1, 1, 1051, 0)
                problems.append(Problem(file, "foreign name", f"a name like {form} is expected"))
            elif name.person not in (DISTRACTOR, JUNK):
                found.append(Found(path, split, name))
            elif split == "gallery":
                kind = "junk" if name.person == JUNK else "distractor"
                found.append(Found(path, kind, name))
            else:
                detail = f"person {name.person} (distractor or junk) belongs in bounding_box_test"
                problems.append(Problem(file, "misplaced", detail))
    return found, problems


def is_image(path: Path) -> bool:
    """Whether a file counts as an image by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def count(images: Iterable[tuple[str, str]]) -> dict[str, Count]:
    """Images and persons of each split; `images` are pairs of split and person."""
    persons: dict[str, list[str]] = {split: [] for split in PUBLISHED_COUNTS}
    for split, person in images:
        persons[split].append(person)
    return {split: Count(len(listed), len(set(listed))) for split, listed in persons.items()}


def check_counts(found: Mapping[str, Count]) -> None:
    """Compare with the published sizes.

    Raises:
        UserError: names each split that differs, with what was expected and what was found.
    """
    differences = [
        f"{split}: expected {expected.images:,} images of {expected.persons:,} persons, "
        f"found {found[split].images:,} of {found[split].persons:,}"
        for split, expected in PUBLISHED_COUNTS.items()
        if found[split] != expected
    ]
    if differences:
        raise UserError("not Market-1501 as published: " + "; ".join(differences))


def import_dataset(source: Path, target: Path, *, expected_counts: bool) -> dict[str, Count]:
    """Bring the data set's three folders into `target`, ready for `dvc add`.

    Args:
        source: the archive (zip, tar, tar.gz) or folder; the layout may lie one folder deeper
            (`Market-1501-v15.09.15/`). What does not belong to the layout is left behind.
        target: made whole or not at all. If it holds the same files already, nothing happens.
        expected_counts: demand the published sizes; False for other data in the same layout.

    Returns:
        Images and persons of each split.

    Raises:
        UserError: no such source, not the layout, unsafe archive, other counts than published, or
            `target` holds something else.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        unpacked = Path(scratch, "unpacked")
        if source.is_dir():
            _copy(source, unpacked)
        elif source.is_file():
            extract_archive(
                source, unpacked, max_bytes=MAX_BYTES, max_files=MAX_FILES, only=_belongs
            )
        else:
            raise UserError(f"nothing at {source}; give Market-1501's archive or folder")
        root = _layout_root(unpacked, source)
        found, _ = scan(root)
        counts = count((image.split, image.name.person) for image in found)
        if expected_counts:
            check_counts(counts)
        if target.is_dir() and any(target.iterdir()):
            if _digests(target) != _digests(root):
                raise UserError(f"{target} holds other data; move it away, then import again")
            say(f"{target} holds this data already; nothing to do")
        else:
            with staging(target) as folder:
                for name in FOLDERS:
                    (root / name).rename(folder / name)
    return counts


def _belongs(path: PurePosixPath) -> bool:
    """Whether a file is an image of the layout, at the top or one folder deeper."""
    return (
        is_image(Path(path.name))
        and len(path.parts) in (2, 3)
        and path.parts[-2] in FOLDERS
        and not path.parts[0].startswith((".", "__MACOSX"))
    )


def _copy(source: Path, target: Path) -> None:
    """Copy the layout's images; links, which DVC may have put in place of files, are followed."""
    size = 0
    for copied, path in enumerate(_layout_files(_layout_root(source, source)), start=1):
        try:
            size += path.stat().st_size
            if copied > MAX_FILES or size > MAX_BYTES:
                raise UserError(f"{source}: too much for Market-1501, stopped at {path}")
            place = target / path.parent.name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        except OSError as error:
            raise UserError(f"cannot copy {path}: {error}") from error


def _layout_files(root: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(path for path in (root / folder).iterdir() if is_image(path))


def _layout_root(folder: Path, source: Path) -> Path:
    """`folder` itself or the one folder in it that has the layout."""
    nested = sorted(path for path in folder.glob("*") if path.is_dir())
    for candidate in [folder, *nested]:
        if all((candidate / name).is_dir() for name in FOLDERS):
            return candidate
    names = ", ".join(FOLDERS)
    raise UserError(f"{source} has no folders {names}; is it Market-1501's archive or folder?")


def _digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file below `root`, hidden ones and all."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in files}
