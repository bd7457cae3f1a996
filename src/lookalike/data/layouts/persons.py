"""Training images alone, a folder per person: `PERSON/IMAGE`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from lookalike.data.layouts.layout import Found, Layout, Scan, is_image, path_id, plain, settle
from lookalike.data.layouts.sources import SOURCES
from lookalike.disk import what_is_in
from lookalike.errors import UserError


def scan(root: Path) -> Scan:
    """List the images one folder deep, sorted by path; all are to train on, from no camera.

    Raises:
        UserError: there is none, or the folder is a data set of another layout.
    """
    for name, layout in SOURCES.items():
        if name != "rendered" and all((root / mark).exists() for mark in layout.marks):
            # Its folders are no persons.
            raise UserError(f"{root} is laid out as {name}, not as PERSON/IMAGE; say --as {name}")
    places = [(path, PurePosixPath(path.relative_to(root).as_posix())) for path in root.glob("*/*")]
    found = [
        Found(path, "train", plain(file.parts[0]), 0, path_id(file))
        for path, file in sorted(places)
        if belongs(file)
    ]
    if not found:
        raise UserError(f"{root} has no images at PERSON/IMAGE: {what_is_in(root)}")
    return settle(found, root)


def belongs(path: PurePosixPath) -> bool:
    """Whether a file is an image of the layout, hidden folders aside."""
    return is_image(path) and len(path.parts) == 2 and not path.parts[0].startswith(".")


PERSONS = Layout("a folder per person", scan, (), belongs)
