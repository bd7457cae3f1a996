"""MSMT17 (Wei et al. 2018): two folders of persons, and four lists that say who is in what.

A list's line is `0000/0000_000_01_0303morning_0008_0.jpg 0`: a file below `train` or `test`
(`mask_train_v2` or `mask_test_v2` in the second edition), and the person. The third field of the
name is the camera, of fifteen. Persons are counted from 0 in either folder and are not the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lookalike.data.layouts.layout import (
    Count,
    Found,
    Layout,
    Listed,
    Problem,
    Scan,
    is_image,
    path_id,
    read_text,
)
from lookalike.disk import what_is_in
from lookalike.errors import UserError

FOLDERS = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}
LISTS = {  # list -> its folder and split
    "list_train.txt": ("train", "train"),
    "list_val.txt": ("train", "train"),
    "list_query.txt": ("test", "query"),
    "list_gallery.txt": ("test", "gallery"),
}
NAME = re.compile(r"\d+_\d+_(?P<camera>\d{1,9})_.+\.jpg")
LINE = re.compile(r"(?P<file>.+?)\s+(?P<person>\d{1,9})")

PUBLISHED_COUNTS: Mapping[str, Count] = {
    "train": Count(32_621, 1_041),  # 30,248 images of list_train.txt, 2,373 of list_val.txt
    "query": Count(11_659, 3_060),
    "gallery": Count(82_161, 3_060),
}


def scan(root: Path) -> Scan:
    """List the images that the four lists name, in their order.

    Persons become `train-0000` and `test-0000`.

    Raises:
        UserError: a list is missing, empty or not UTF-8, or a folder is missing.
    """
    found: list[Found] = []
    problems: list[Problem] = []
    listed = Listed(root)
    for name, (side, split) in LISTS.items():
        folder = next((one for one in FOLDERS[side] if (root / one).is_dir()), None)
        if folder is None:
            either = " or ".join(FOLDERS[side])
            raise UserError(f"{root} has no folder {either}: {what_is_in(root)}; is it MSMT17's?")
        lines = read_text(root / name).splitlines()
        if not any(line.strip() for line in lines):
            raise UserError(f"{root / name} is empty; is the data complete?")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{name} line {number}"
            match = LINE.fullmatch(line.strip())
            if match is None:
                problems.append(Problem(where, "bad line", "a file and a number are expected"))
                continue
            path = listed.find(f"{folder}/{match['file'].lstrip('/')}", where)
            if isinstance(path, Problem):
                problems.append(path)
                continue
            file = path.relative_to(root)
            form = NAME.fullmatch(path.name)
            if form is None:
                detail = "a name like 0000_000_01_0303morning_0008_0.jpg is expected"
                problems.append(Problem(file.as_posix(), "foreign name", detail))
                continue
            person = f"{side}-{int(match['person']):04d}"
            image_id = path_id(PurePosixPath(file.as_posix()))
            found.append(Found(path, split, person, int(form["camera"]), image_id))
    return found, problems


def belongs(path: PurePosixPath) -> bool:
    """Whether a file is a list, or an image in a person's folder."""
    if len(path.parts) == 1:
        return path.name in LISTS
    return is_image(path) and len(path.parts) == 3 and path.parts[0] in sum(FOLDERS.values(), ())


MSMT17 = Layout("MSMT17", scan, tuple(LISTS), belongs, counts=PUBLISHED_COUNTS, names=NAME)
