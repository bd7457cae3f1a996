"""Rendered images in place of generated ones, and further test persons: what no generator limits.

The populations have seeds of their own, so nobody here is in the data or was seen by a generator.
Variations are the exception, and meant to be: further images of the training persons, drawn as
`lookalike data render` drew those that are there, from any camera.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from lookalike.config import RenderedConfig
from lookalike.data.archives import write_archive
from lookalike.data.manifest import new_manifest, read_manifest, write_manifest
from lookalike.data.population import Shot, encode_shots, plan_population
from lookalike.data.rendering.renderer import HEIGHT, WIDTH
from lookalike.seeds import derive_seed
from lookalike.training.checkpoint import fingerprint

# Of populations; stylegan3.starting_generator has the one before.
NEW_SEED, TEST_SEED = 900_002, 900_003
CAMERAS = 6
FIRST_INDEX, FIRST_STEP = 10_000, 1_000  # of further images: none of the data has one so high


def new_persons(count: int, images_per_person: int, root: Path, folder: Path) -> pd.DataFrame:
    """Manifest rows of rendered persons who are nowhere else, each a class of its own.

    Args:
        count: persons.
        images_per_person: at least 1.
        root: the repository root, which paths are relative to.
        folder: where to keep the images, relative to the root.
    """
    persons = {f"oracle-{n:06d}": n for n in range(1, count + 1)}
    return _walks("oracle-persons", persons, NEW_SEED, images_per_person, "person", root, folder)


def further_images(
    train: pd.DataFrame, population_seed: int, images_per_person: int, root: Path, folder: Path
) -> pd.DataFrame:
    """Manifest rows of further images of rendered training persons, from cameras in turns.

    Args:
        train: manifest rows of the training persons, of a population of this seed.
        population_seed: `data.rendered.seed`.
        images_per_person: at least 1.
        root, folder: as in `new_persons`.
    """
    persons = {person: int(person) for person in sorted(set(train["person_id"]))}
    return _walks(
        "oracle-images", persons, population_seed, images_per_person, "variation", root, folder
    )


def more_test_persons(
    count: int, like: RenderedConfig, root: Path, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries and gallery of further rendered test persons.

    Args:
        count: persons.
        like: the population of the data; these persons have as many images each.
        root, folder: as in `new_persons`.
    """
    shots = plan_population(
        seed=TEST_SEED,
        train_persons=0,
        test_persons=count,
        images_per_person=like.images_per_person,
        distractors=0,
        junk=0,
        cameras=CAMERAS,
    )
    ids = [f"test-{shot.person:06d}" for shot in shots]
    rows = _rendered("test-persons", shots, ids, "real", root, folder)
    query = rows["split"] == "query"
    return rows[query].reset_index(drop=True), rows[~query].reset_index(drop=True)


def _walks(
    name: str,
    persons: Mapping[str, int],
    seed: int,
    images_per_person: int,
    origin: str,
    root: Path,
    folder: Path,
) -> pd.DataFrame:
    """Rows of persons (id -> number in the population) who pass the cameras in turns."""
    shots, ids = [], []
    for person, number in persons.items():
        # In an order of the person's own, so that the first images are not all of one camera.
        order = sorted(range(1, CAMERAS + 1), key=partial(derive_seed, "oracle", person))
        for image in range(images_per_person):
            turn, place = divmod(image, CAMERAS)
            step, index = FIRST_STEP + turn, FIRST_INDEX + image
            shots.append(Shot("train", seed, number, order[place], step, index, 1, image, 0))
            ids.append(person)
    return _rendered(name, shots, ids, origin, root, folder)


def _rendered(
    name: str, shots: Sequence[Shot], ids: Sequence[str], origin: str, root: Path, folder: Path
) -> pd.DataFrame:
    """The rows of rendered images; what was drawn before is read."""
    place = folder / f"{name}-{fingerprint(*shots)}"
    manifest, archive = root / place / "manifest.parquet", place / "images.zip"
    if manifest.is_file():  # written last
        return read_manifest(manifest)
    names = [f"{person}_{shot.index:05d}" for shot, person in zip(shots, ids, strict=True)]
    workers = None if len(shots) > 200 else 1  # processes take longer to start than that
    encoded = list(encode_shots(shots, workers=workers, description=f"render {name}"))
    members = [f"{image}.jpg" for image in names]
    write_archive(root / archive, zip(members, encoded, strict=True))
    rows = [
        {
            "image_id": image,
            "person_id": person,
            "camera_id": shot.camera,
            "split": shot.kind,
            "origin": origin,
            "archive": archive.as_posix(),
            "member": member,
            "width": WIDTH,
            "height": HEIGHT,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for image, person, shot, member, data in zip(
            names, ids, shots, members, encoded, strict=True
        )
    ]
    frame = new_manifest(rows)
    write_manifest(frame, manifest)
    return read_manifest(manifest)
