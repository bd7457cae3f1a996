"""Market-1501 (Zheng et al. 2015): its folders, its file names, its sizes.

Layout: `bounding_box_train`, `query` and `bounding_box_test` full of crops named
`0001_c1s1_001051_00.jpg`: person, camera, sequence, frame, box. In `bounding_box_test`, person
`0000` marks distractors (valid negatives) and `-1` junk (neither hit nor miss).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lookalike.data.layouts.layout import (
    DISTRACTOR,
    JUNK,
    Count,
    Found,
    Layout,
    Problem,
    Scan,
    is_image,
)
from lookalike.disk import what_is_in
from lookalike.errors import UserError

FOLDERS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
CROP_WIDTH, CROP_HEIGHT = 64, 128  # pixels

JPG = r"(?:\.(?i:jpg))+"  # .JPG and .jpg.jpg, too: Windows hides suffixes until there are two

# A person is any label without an underscore (other data sets have their own) except those of
# synthetic persons. The camera may be missing, so that its absence can be told from a foreign name.
NAME = re.compile(
    r"(?P<person>-1|(?!syn-)[A-Za-z0-9][A-Za-z0-9-]*)"
    r"_(?:c(?P<camera>\d{1,9}))?s(?P<sequence>\d+)_(?P<frame>\d+)_(?P<box>\d+)" + JPG
)


# The published sizes.
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


def scan(root: Path) -> Scan:
    """List a folder in Market-1501's layout, sorted by path; nothing is opened.

    Files that are no images (`Thumbs.db`) and hidden ones do not count. An image whose name cannot
    be read, and junk or distractors outside the gallery, become problems (file relative to `root`).

    Raises:
        UserError: one of the three folders is missing or has no image.
    """
    found: list[Found] = []
    problems: list[Problem] = []
    for path, split in images_below(root, FOLDERS, "Market-1501's"):
        name = parse_name(path.name)
        file = path.relative_to(root).as_posix()
        if name is None:
            form = ImageName("0001", 1, 1, 1051, 0)
            problems.append(Problem(file, "foreign name", f"a name like {form} is expected"))
            continue
        image = Found(path, split, name.person, name.camera, path.name.partition(".")[0])
        if name.person not in (DISTRACTOR, JUNK):
            found.append(image)
        elif split == "gallery":
            kind = "junk" if name.person == JUNK else "distractor"
            found.append(image._replace(split=kind))
        else:
            detail = f"person {name.person} (distractor or junk) belongs in bounding_box_test"
            problems.append(Problem(file, "misplaced", detail))
    return found, problems


def images_below(root: Path, folders: Mapping[str, str], whose: str) -> Iterator[tuple[Path, str]]:
    """The images in each folder with the folder's split, sorted; `whose` layout, for messages.

    Raises:
        UserError: a folder is missing or has no image.
    """
    for folder, split in folders.items():
        if not (root / folder).is_dir():
            raise UserError(
                f"{root} has no folder {folder}: {what_is_in(root)}; is it {whose} layout?"
            )
        paths = sorted(path for path in (root / folder).iterdir() if is_image(path))
        if not paths:
            raise UserError(
                f"{root / folder} has no images: {what_is_in(root / folder)}; is the data complete?"
            )
        for path in paths:
            yield path, split


def belongs(path: PurePosixPath) -> bool:
    """Whether a file is an image in one of the three folders."""
    return is_image(path) and len(path.parts) == 2 and path.parts[0] in FOLDERS


RENDERED = Layout(
    "rendered pedestrians",
    scan,
    tuple(FOLDERS),
    belongs,
    crop=(CROP_WIDTH, CROP_HEIGHT),
    names=NAME,
)
MARKET1501 = replace(
    RENDERED,
    title="Market-1501",
    counts=PUBLISHED_COUNTS,
    max_bytes=4 << 30,  # twenty times the real archive
    max_files=250_000,  # the real archive holds about 68,000, `gt_bbox` and `gt_query` included
)
