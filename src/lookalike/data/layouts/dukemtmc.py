"""DukeMTMC-reID (Ristani et al. 2016; Zheng et al. 2017): Market-1501's folders, other names.

Crops `0002_c1_f0044158.jpg` (person, camera, frame) of any size from eight cameras. Nobody is a
distractor or junk: the 408 persons of the gallery that no query shows are ordinary persons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lookalike.data.layouts import market1501
from lookalike.data.layouts.layout import Count, Found, Layout, Problem, Scan

NAME = re.compile(r"(?P<person>\d{4})_c(?P<camera>\d{1,9})_f(?P<frame>\d+)" + market1501.JPG)

PUBLISHED_COUNTS: Mapping[str, Count] = {
    "train": Count(16_522, 702),
    "query": Count(2_228, 702),
    "gallery": Count(17_661, 1_110),
}


def scan(root: Path) -> Scan:
    """List a folder in DukeMTMC-reID's layout, sorted by path.

    Raises:
        UserError: one of the three folders is missing or has no image.
    """
    found: list[Found] = []
    problems: list[Problem] = []
    for path, split in market1501.images_below(root, market1501.FOLDERS, "DukeMTMC-reID's"):
        match = NAME.fullmatch(path.name)
        if match:
            image_id, _, _ = path.name.partition(".")
            found.append(Found(path, split, match["person"], int(match["camera"]), image_id))
        else:
            file = path.relative_to(root).as_posix()
            detail = "a name like 0002_c1_f0044158.jpg is expected"
            problems.append(Problem(file, "foreign name", detail))
    return found, problems


DUKEMTMC = Layout(
    "DukeMTMC-reID",
    scan,
    tuple(market1501.FOLDERS),
    market1501.belongs,
    counts=PUBLISHED_COUNTS,
    names=NAME,
    max_bytes=4 << 30,
    max_files=250_000,
)
