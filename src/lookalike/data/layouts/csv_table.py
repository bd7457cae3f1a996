"""Any data set, described by a table: `images.csv` with the columns file, person, camera, split.

Files are relative to the table's folder. Persons and cameras are any text, splits those of
`layout.SPLITS`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

from lookalike.data.layouts.layout import (
    OTHERS,
    SPLITS,
    Found,
    Layout,
    Listed,
    Problem,
    Scan,
    is_image,
    number_cameras,
    path_id,
    plain,
    read_text,
    settle,
)
from lookalike.disk import PICTURES
from lookalike.errors import UserError

TABLE = "images.csv"
COLUMNS = ("file", "person", "camera", "split")


def scan(root: Path) -> Scan:
    """List the images of the table, in its order; other columns are ignored.

    Raises:
        UserError: no table, not UTF-8, a column is missing, or no row.
    """
    rows = _rows(root / TABLE)
    cameras = number_cameras(plain(row["camera"]) for _, row in rows)
    found: list[Found] = []
    problems: list[Problem] = []
    listed = Listed(root)
    for number, row in rows:
        path = listed.find(row["file"].strip(), f"{TABLE} line {number}")
        if isinstance(path, Problem):
            problems.append(path)
            continue
        file = PurePosixPath(path.relative_to(root).as_posix())
        if not belongs(file):
            detail = f"hidden, or not {', '.join(sorted(PICTURES))}"
            problems.append(Problem(file.as_posix(), "bad path", detail))
            continue
        split = row["split"].strip()
        if split not in SPLITS:
            detail = f"{split!r} is not one of {', '.join(SPLITS)}"
            problems.append(Problem(file.as_posix(), "bad split", detail))
            continue
        camera = cameras[plain(row["camera"])]
        found.append(Found(path, split, plain(row["person"]), camera, path_id(file)))
    sound, more = settle(found, root)
    return sound, problems + more


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of every row; missing cells are empty."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="", strict=True)
    try:
        lacking = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if lacking:
            raise UserError(
                f"{path} has no column {', '.join(lacking)}; its first line must be "
                f"{','.join(COLUMNS)}, separated by commas"
            )
        rows = [(reader.line_num, {name: row[name] for name in COLUMNS}) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path} is not CSV after line {reader.line_num}: {error}") from error
    if not rows:
        raise UserError(f"{path} names no image")
    return rows


def belongs(path: PurePosixPath) -> bool:
    """Whether a file is the table or an image, hidden folders aside."""
    if any(part.startswith((".", "__MACOSX")) for part in path.parts) or path.parts[0] == OTHERS:
        return False
    return is_image(path) or path.as_posix() == TABLE


CSV = Layout("a data set with images.csv", scan, (TABLE,), belongs)
