"""Any data set, described by its folders: `SPLIT/PERSON/CAMERA/IMAGE`.

Splits are those of `layout.SPLITS`; persons and cameras are any names that a folder can have.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from lookalike.data.layouts.layout import (
    SPLITS,
    Found,
    Layout,
    Scan,
    is_image,
    number_cameras,
    path_id,
    plain,
    settle,
)
from lookalike.disk import files_below, some, what_is_in
from lookalike.errors import UserError


def scan(root: Path) -> Scan:
    """List the images three folders deep, sorted by path.

    Raises:
        UserError: there is none.
    """
    files = [
        (path, PurePosixPath(path.relative_to(root).as_posix()))
        for split in SPLITS
        for path in sorted((root / split).glob("*/*/*"))
    ]
    images = [(path, file) for path, file in files if belongs(file)]
    if not images:
        elsewhere = [p.relative_to(root).as_posix() for p in files_below(root) if is_image(p)]
        instead = f"found {some(elsewhere)}" if elsewhere else what_is_in(root)
        form = f"{'|'.join(SPLITS)}/PERSON/CAMERA/IMAGE"
        raise UserError(f"{root} has no images at {form}: {instead}")
    cameras = number_cameras(plain(file.parts[2]) for _, file in images)
    found = []
    for path, file in images:
        split, person, camera, _ = file.parts
        found.append(Found(path, split, plain(person), cameras[plain(camera)], path_id(file)))
    return settle(found, root)


def belongs(path: PurePosixPath) -> bool:
    """Whether a file is an image of the layout, hidden folders aside."""
    return (
        is_image(path)
        and len(path.parts) == 4
        and path.parts[0] in SPLITS
        and not any(part.startswith(".") for part in path.parts)
    )


FOLDERS = Layout("a data set in folders", scan, ("train",), belongs)
