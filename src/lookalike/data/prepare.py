"""From a folder of crops to the manifest, and to the list of everything that is wrong with them.

Nothing is decided here: `validate` stops at a problem or leaves the file out, as configured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from lookalike.config import DataConfig
from lookalike.data.loading import decode
from lookalike.data.manifest import new_manifest
from lookalike.data.market1501 import CROP_HEIGHT, CROP_WIDTH, Found, Problem, scan
from lookalike.errors import UserError
from lookalike.progress import Progress

# Of two equal images the first in this order stays: a test set is worth more than a training image.
PRIORITY = ("query", "gallery", "distractor", "train", "junk")


def prepare_manifest(
    data_root: Path, root: Path, config: DataConfig, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a data set in Market-1501's layout, every image decoded in full.

    `config.validation_persons` train identities become the split `val`; which ones depends on
    `seed` and on the persons alone. They are drawn from those whom two cameras saw twice or more,
    so that each of their queries has a match.

    Args:
        data_root: the layout's folder, inside `root`.
        root: the repository root, which the manifest's paths are relative to.
        config: where the number of validation persons stands.
        seed: of the draw.

    Returns:
        The manifest, sorted by `member`, and the problems with columns `file`, `problem` and
        `detail`, sorted. Leaving out the files in it mends all of them. Its kinds: `unreadable`,
        `foreign name` and `misplaced` (these three are not in the manifest), `wrong size`,
        `no camera`, `person in two splits`, `duplicate`, `no match`.

    Raises:
        UserError: not the layout, or too few persons to hold out.
    """
    found, problems = scan(data_root)
    prefix = data_root.resolve().relative_to(root.resolve()).as_posix()
    problems = [problem._replace(file=f"{prefix}/{problem.file}") for problem in problems]

    rows = []
    with ThreadPoolExecutor() as pool, Progress("read images", len(found)) as progress:
        for row in pool.map(_inspect, found, [prefix] * len(found)):
            if isinstance(row, Problem):
                problems.append(row)
            else:
                rows.append(row)
            progress.advance()
    manifest = new_manifest(rows).sort_values("member", ignore_index=True)

    for check in (_wrong_sizes, _without_camera, _in_two_splits, _duplicates):
        problems.extend(check(manifest))
    sound = manifest[~manifest["member"].isin([problem.file for problem in problems])]
    problems.extend(_without_match(sound))

    held_out = _validation_persons(sound, config.validation_persons, seed)
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


def _inspect(found: Found, prefix: str) -> dict[str, object] | Problem:
    """One image's row, or what is wrong with its bytes."""
    member = f"{prefix}/{found.path.parent.name}/{found.path.name}"
    try:
        data = found.path.read_bytes()
        width, height = decode(data, "").size
    except (UserError, OSError) as error:
        return Problem(member, "unreadable", str(error).removeprefix(": "))
    return {
        "image_id": found.path.stem,
        "person_id": found.name.person,
        "camera_id": found.name.camera,
        "split": found.split,
        "origin": "real",
        "member": member,
        "width": width,
        "height": height,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _wrong_sizes(manifest: pd.DataFrame) -> Iterator[Problem]:
    wrong = (manifest["width"] != CROP_WIDTH) | (manifest["height"] != CROP_HEIGHT)
    for row in manifest[wrong].itertuples():
        detail = f"{row.width}x{row.height} pixels, expected {CROP_WIDTH}x{CROP_HEIGHT}"
        yield Problem(str(row.member), "wrong size", detail)


def _without_camera(manifest: pd.DataFrame) -> Iterator[Problem]:
    for file in manifest.loc[manifest["camera_id"] < 1, "member"]:
        yield Problem(file, "no camera", "its name has no camera, or c0; cameras count from 1")


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
    for row in queries[matches(queries, gallery) == 0].itertuples():
        if (gallery["person_id"] == row.person_id).any():
            detail = f"the gallery has person {row.person_id} from camera {row.camera_id} only"
        else:
            detail = f"the gallery has no image of person {row.person_id}"
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
