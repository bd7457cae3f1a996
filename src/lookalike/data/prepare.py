"""From a folder of crops to the manifest, and to the list of everything that is wrong with them.

Nothing is decided here: `validate` stops at a problem or leaves the file out, as configured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from lookalike.config import DataConfig, Source
from lookalike.data.decoding import decode
from lookalike.data.layouts.layout import OTHERS, Found, Layout, Problem
from lookalike.data.layouts.sources import SOURCES
from lookalike.data.manifest import new_manifest
from lookalike.disk import files_below, is_utf8, linked_folders, printable
from lookalike.errors import UserError
from lookalike.names import counted
from lookalike.progress import Progress, say

# Of two equal images the first in this order stays: a test set is worth more than a training image.
PRIORITY = ("query", "gallery", "distractor", "train", "other", "junk")
LISTED = 10  # problems spelled out in an error

Listing = tuple[list[dict[str, object]], list[Problem]]  # rows, and files that have none


def prepare_manifest(
    data_root: Path, root: Path, config: DataConfig, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the main data set and the train images of the others, every image decoded in full.

    `config.validation_persons` train identities become the split `val`; which ones depends on
    `seed` and on the persons alone. They are drawn from those whom two cameras saw twice or more,
    so that each of their queries has a match.

    Rows of `config.others` have the split `other`, and the data set's name and a slash before
    `person_id` and `image_id`.

    Args:
        data_root: the main data set's folder, inside `root`; the others lie in `others/NAME`.
        root: the repository root, which the manifest's paths are relative to.
        config: names the layouts and the number of validation persons.
        seed: of the draw.

    Returns:
        The manifest, sorted by `member`, and the problems with columns `file`, `problem` and
        `detail`, sorted. Leaving out the files in it mends all of them. Its kinds: those of the
        layouts (`foreign name`, `missing`, ...), `bad name` and `unreadable`, which are not in the
        manifest; `wrong size`, `no camera`, `person in two splits`, `duplicate`, `no match`.

    Raises:
        UserError: a link to a folder inside `data_root`, not the layout, no query or gallery, or
            too few persons to hold out; names files that have problems.
    """
    # Not resolved: data/ may be a link to a larger disk.
    prefix = data_root.absolute().relative_to(root.absolute()).as_posix()
    if linked := linked_folders(data_root):
        # Their content would be neither in DVC's digest of data/ nor noticed when it changes.
        raise UserError(
            f"{linked[0].relative_to(root)} is a link to a folder, behind which DVC does not look: "
            f"put the folder in its place, or let {data_root.name}/ as a whole be the link"
        )

    def read(folder: Path, place: str, source: Source, other: str = "") -> Listing:
        layout = SOURCES[source]
        return _read(folder, place, layout, layout.crop if config.as_published else None, other)

    rows, problems = read(data_root, prefix, config.source)
    for name, source in sorted(config.others.items()):
        folder = data_root / OTHERS / name
        if not folder.is_dir():
            how = f"`lookalike data import PATH --as {source} --name {name}`"
            raise UserError(f"data.others has {name}, but there is no {folder}; {how} brings it")
        place = f"{prefix}/{OTHERS}/{name}"
        more_rows, more_problems = read(folder, place, source, name)
        rows, problems = rows + more_rows, problems + more_problems
    manifest = new_manifest(rows).sort_values("member", ignore_index=True)

    for check in (_without_camera, _in_two_splits, _duplicates):
        problems.extend(check(manifest))
    sound = manifest[~manifest["member"].isin([problem.file for problem in problems])]
    problems.extend(_without_match(sound))
    try:
        _check_test_set(manifest, data_root)
        held_out = _validation_persons(sound, config.validation_persons, seed)
    except UserError as error:
        # `validate` will never see these files.
        raise UserError("\n".join([str(error), *_listing(problems)])) from error
    is_held_out = manifest["person_id"].isin(held_out) & (manifest["split"] == "train")
    manifest.loc[is_held_out, "split"] = "val"
    return manifest, pd.DataFrame(sorted(problems), columns=list(Problem._fields), dtype="str")


def matches(queries: pd.DataFrame, gallery: pd.DataFrame) -> pd.Series:
    """For each query, how many gallery images show its person in another camera."""
    of_person = gallery.groupby("person_id").size()
    in_camera = gallery.groupby(["person_id", "camera_id"]).size()
    return pd.Series(
        [
            int(of_person.get(person, 0)) - int(in_camera.get((person, camera), 0))
            for person, camera in zip(queries["person_id"], queries["camera_id"], strict=True)
        ],
        index=queries.index,
        dtype="int64",
    )


def read_sound(folder: Path, layout: Layout) -> tuple[pd.DataFrame, list[Problem]]:
    """Any data set as it lies there, for whoever needs no pipeline.

    Args:
        folder: the data set; the manifest's paths begin with it.
        layout: how it is laid out. It may have train images alone.

    Returns:
        The manifest of the sound images, sorted by `member`, and what was left out, sorted.

    Raises:
        UserError: not the layout.
    """
    rows, problems = _read(folder, folder.as_posix(), layout, None)
    manifest = new_manifest(rows).sort_values("member", ignore_index=True)
    for check in (_in_two_splits, _duplicates):
        problems.extend(check(manifest))
    sound = ~manifest["member"].isin([problem.file for problem in problems])
    return manifest[sound].reset_index(drop=True), sorted(problems)


def _read(
    folder: Path, place: str, layout: Layout, crop: tuple[int, int] | None, other: str = ""
) -> Listing:
    """Rows and problems of one data set; `place` is its folder relative to the root.

    With `crop`, images of another width and height are problems. With `other`, the data set's
    name, only its train images are read.
    """
    found, listed = layout.scan(folder)
    listed += [
        Problem(image.path.relative_to(folder).as_posix(), "bad name", "not UTF-8; rename it")
        for image in found
        if not is_utf8(image.path)
    ]
    found = [image for image in found if is_utf8(image.path)]
    known = {image.path.relative_to(folder).as_posix() for image in found}
    known |= {problem.file for problem in listed} | set(layout.marks)
    _say_what_is_left_out(folder, place, known)
    problems = [
        Problem(printable(f"{place}/{problem.file}"), problem.problem, printable(problem.detail))
        for problem in listed
    ]
    if other:
        found = [image for image in found if image.split == "train"]

    def inspect(image: Found) -> dict[str, object] | Problem:
        member = f"{place}/{image.path.relative_to(folder).as_posix()}"
        try:
            data = image.path.read_bytes()
            width, height = decode(data, "").size
        except (UserError, OSError) as error:
            return Problem(member, "unreadable", str(error).removeprefix(": "))
        return {
            "image_id": f"{other}/{image.image_id}" if other else image.image_id,
            "person_id": f"{other}/{image.person}" if other else image.person,
            "camera_id": image.camera,
            "split": "other" if other else image.split,
            "origin": "real",
            "member": member,
            "width": width,
            "height": height,
            "sha256": hashlib.sha256(data).hexdigest(),
        }

    rows = []
    description = f"read images of {other}" if other else "read images"
    with ThreadPoolExecutor() as pool, Progress(description, len(found)) as progress:
        for row in pool.map(inspect, found):
            if isinstance(row, Problem):
                problems.append(row)
            else:
                rows.append(row)
                if crop is not None and (row["width"], row["height"]) != crop:
                    detail = f"{row['width']}x{row['height']} pixels, expected {crop[0]}x{crop[1]}"
                    problems.append(Problem(str(row["member"]), "wrong size", detail))
            progress.advance()
    return rows, problems


def _say_what_is_left_out(folder: Path, place: str, known: set[str]) -> None:
    """One line for files that are neither images of the layout nor its lists."""
    files = (path.relative_to(folder) for path in files_below(folder))
    left_out = sorted(
        file.as_posix()
        for file in files
        if file.parts[0] != OTHERS and file.as_posix() not in known
    )
    if left_out:
        say(
            f"{place}: left out {counted(len(left_out), 'file')} outside of the layout, "
            f"such as {printable(left_out[0])}"
        )


def _check_test_set(manifest: pd.DataFrame, data_root: Path) -> None:
    for split in ("query", "gallery"):
        if not (manifest["split"] == split).any():
            raise UserError(f"{data_root} has no readable image of the split {split}")


def _listing(problems: Sequence[Problem]) -> list[str]:
    """The first problems, a line each, as `validate` would list them."""
    lines = [f"  {p.file}: {p.problem}: {p.detail}" for p in sorted(problems)[:LISTED]]
    if len(problems) > LISTED:
        lines.append(f"  and {counted(len(problems) - LISTED, 'more problem')}")
    return lines


def _without_camera(manifest: pd.DataFrame) -> Iterator[Problem]:
    for file in manifest.loc[manifest["camera_id"] < 1, "member"]:
        yield Problem(file, "no camera", "no camera is given, or 0; cameras count from 1")


def _in_two_splits(manifest: pd.DataFrame) -> Iterator[Problem]:
    """Training images of test persons: the test images stay, or the scores would not compare."""
    test = manifest[manifest["split"].isin(["query", "gallery"])].groupby("person_id")["member"]
    first = test.first().to_dict()
    train = manifest[manifest["split"] == "train"]
    for person, file in zip(train["person_id"], train["member"], strict=True):
        if person in first:
            detail = f"person {person} is a test person, too: {first[person]}"
            yield Problem(file, "person in two splits", detail)


def _duplicates(manifest: pd.DataFrame) -> Iterator[Problem]:
    """Images with the bytes or the name of another one; junk, which nothing uses, may repeat."""
    rank = manifest["split"].map(PRIORITY.index)
    ordered = manifest.iloc[rank.argsort(kind="stable")]
    for column, what in (("sha256", "same bytes as"), ("image_id", "same name as")):
        images = ordered[ordered["split"] != "junk"] if column == "sha256" else ordered
        first = images.groupby(column)["member"].transform("first")
        for file, original in zip(images["member"], first, strict=True):
            if file != original:
                yield Problem(file, "duplicate", f"{what} {original}")


def _without_match(manifest: pd.DataFrame) -> Iterator[Problem]:
    """Queries that no gallery image can answer."""
    queries = manifest[manifest["split"] == "query"]
    gallery = manifest[manifest["split"] == "gallery"]
    present, cause = set(gallery["person_id"]), ""
    if present.isdisjoint(queries["person_id"]):
        cause = "; queries and gallery have no person in common: is the split right?"
    elif pd.concat([queries["camera_id"], gallery["camera_id"]]).nunique() == 1:
        cause = "; all test images have the same camera: give them their real ones"
    for row in queries[matches(queries, gallery) == 0].itertuples():
        if row.person_id in present:
            detail = (
                f"the gallery has person {row.person_id} from camera {row.camera_id} only{cause}"
            )
        else:
            detail = f"the gallery has no image of person {row.person_id}{cause}"
        yield Problem(str(row.member), "no match", detail)


def _validation_persons(manifest: pd.DataFrame, wanted: int, seed: int) -> list[str]:
    """The `wanted` train persons with the smallest hash of seed and label."""
    train = manifest[manifest["split"] == "train"]
    persons = set(train["person_id"])
    images = train.groupby(["person_id", "camera_id"]).size()
    cameras = images[images > 1].groupby("person_id").size()
    eligible = list(cameras.index[cameras > 1])
    if wanted > len(eligible) or wanted >= len(persons):
        raise UserError(
            f"data.validation_persons is {wanted}, but of {len(persons)} sound train persons "
            f"{len(eligible)} were seen twice by two cameras, and one must be left to train on"
        )

    def order(person: str) -> str:
        # A hash, not a shuffle: another person in the data changes the draw by one at most.
        return hashlib.sha256(f"validation:{seed}:{person}".encode()).hexdigest()

    return sorted(eligible, key=order)[:wanted]
