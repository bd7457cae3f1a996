"""A population of rendered pedestrians as a data set in Market-1501's layout.

    bounding_box_train/0002_c1s1_000451_03.jpg   training persons
    query/0001_c1s1_001051_00.jpg                one image per test person and camera
    bounding_box_test/                           the test persons' other images, distractors (person
                                                 0000) and junk (person -1)

A name gives person, camera, sequence, frame and box. Every image is drawn from its own key, which
starts with the seed, so the files do not depend on the order or the number of processes. Another
seed gives other persons; the places that the cameras watch stay the same.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from lookalike.data.rendering.appearance import sample_person
from lookalike.data.rendering.dice import Dice, Stream
from lookalike.data.rendering.renderer import begin_track, draw_crop, draw_distractor, draw_junk
from lookalike.errors import UserError
from lookalike.progress import Progress

Kind = Literal["train", "query", "gallery", "distractor", "junk"]
T = TypeVar("T")

FOLDERS: dict[Kind, str] = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
    "distractor": "bounding_box_test",
    "junk": "bounding_box_test",
}
MAX_SEED = 2**32 - 1
_STRANGERS = 10_000_000  # persons from here on have no name: passers-by, junk, distractors


@dataclass(frozen=True)
class Shot:
    """One image of the plan; (seed, person, index) is the key that it is drawn from."""

    kind: Kind
    seed: int
    person: int
    camera: int
    step: int  # place in the passage
    index: int  # of the image among all of the person's
    sequence: int
    frame: int
    box: int

    @property
    def path(self) -> str:
        """The file below the data set's folder, named as in Market-1501."""
        names = {"junk": "-1", "distractor": "0000"}
        person = names.get(self.kind, f"{self.person:04d}")
        moment = f"c{self.camera}s{self.sequence}_{self.frame:06d}_{self.box:02d}"
        return f"{FOLDERS[self.kind]}/{person}_{moment}.jpg"


def render_population(
    root: Path,
    *,
    seed: int,
    train_persons: int,
    test_persons: int,
    images_per_person: int,
    distractors: int,
    junk: int,
    cameras: int = 6,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, int]:
    """Render a data set below `root` and return the number of images of each kind.

    `images_per_person` is the mean over persons (at least 4), `workers` the number of processes
    (None: one per core).

    Raises:
        UserError: an impossible size, or `root` already holds images of another rendering.
    """
    shots = plan_population(
        seed=seed,
        train_persons=train_persons,
        test_persons=test_persons,
        images_per_person=images_per_person,
        distractors=distractors,
        junk=junk,
        cameras=cameras,
    )
    for folder in sorted(set(FOLDERS.values())):
        (root / folder).mkdir(parents=True, exist_ok=True)
        foreign = {f"{folder}/{p.name}" for p in (root / folder).iterdir()} - {
            shot.path for shot in shots
        }
        if foreign:
            raise UserError(f"{root} holds other images ({min(foreign)}); empty it or name another")
    with Progress("render", len(shots), visible=progress) as bar:
        for _ in _parallel(partial(_write, root), shots, workers):
            bar.advance()
    counts = dict.fromkeys(FOLDERS, 0)
    for shot in shots:
        counts[shot.kind] += 1
    return {str(kind): count for kind, count in counts.items()}


def render_crops(
    seed: int,
    persons: int,
    images_per_person: int,
    height: int,
    width: int,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> NDArray[np.uint8]:
    """Render training images into memory: uint8 RGB [persons * images_per_person, H, W, 3].

    Images of one person lie side by side.
    """
    from lookalike.data.loading import resize_batch  # imports torch, which workers do without

    shots = plan_crops(seed, persons, images_per_person)
    crops = np.empty((len(shots), height, width, 3), np.uint8)
    with Progress("render", len(shots), visible=progress) as bar:
        for row, crop in enumerate(_parallel(draw_shot, shots, workers)):
            crops[row] = resize_batch(crop[None], height, width)[0]
            bar.advance()
    return crops


def plan_crops(seed: int, persons: int, images_per_person: int) -> list[Shot]:
    """What `render_crops` draws, in its order."""
    _check_seed(seed)
    return [
        shot
        for person in range(1, persons + 1)
        for shot in _passages(seed, person, images_per_person, cameras=6, test=False)
    ]


def plan_population(
    *,
    seed: int,
    train_persons: int,
    test_persons: int,
    images_per_person: int,
    distractors: int,
    junk: int,
    cameras: int,
) -> list[Shot]:
    """Return every image of a population, sorted by path.

    Raises:
        UserError: a seed, number of cameras or of images that no data set can have.
    """
    _check_seed(seed)
    if min(train_persons, test_persons, distractors, junk) < 0:
        raise UserError("a population's numbers of persons and images must not be negative")
    if cameras < 2 or images_per_person < 4:
        raise UserError(
            "re-identification needs at least 2 cameras and 4 images per person, "
            f"got cameras={cameras}, images_per_person={images_per_person}"
        )
    dice = Dice(Stream.PLAN, seed)
    names = dice.shuffled(range(1, train_persons + test_persons + 1))
    shots: list[Shot] = []
    for order, person in enumerate(names):
        spread = min(images_per_person // 2, images_per_person - 4)
        count = images_per_person + dice.integer(-spread, spread)
        shots += _passages(seed, person, count, cameras, test=order >= train_persons)
    extras: list[Kind] = ["distractor" for _ in range(distractors)]
    extras += ["junk" for _ in range(junk)]
    for index, kind in enumerate(extras):
        camera, sequence = dice.integer(1, cameras), dice.integer(1, 6)
        person, box = _STRANGERS + index, dice.integer(1, 9)
        shots.append(Shot(kind, seed, person, camera, 0, 0, sequence, index + 1, box))
    return sorted(shots, key=lambda shot: shot.path)


def draw_shot(shot: Shot) -> NDArray[np.uint8]:
    """Draw one image of the plan: uint8 RGB [128, 64, 3]."""
    person = sample_person(shot.seed, shot.person)
    track = begin_track(
        person, shot.camera, Dice(Stream.TRACK, shot.seed, shot.person, shot.camera)
    )
    dice = Dice(Stream.IMAGE, shot.seed, shot.person, shot.index)
    if shot.kind == "junk":
        return draw_junk(track, dice)
    if shot.kind == "distractor":
        return draw_distractor(track, dice)
    stranger = 2 * _STRANGERS + dice.integer(0, _STRANGERS)
    return draw_crop(track, shot.step, dice, lambda: sample_person(shot.seed, stranger))


def _passages(seed: int, person: int, count: int, cameras: int, test: bool) -> list[Shot]:
    """Return `count` images of a person who passes two or more cameras.

    A test person has two images or more at each of the cameras, so that after the query is taken
    out, each query has a match at another camera.
    """
    dice = Dice(Stream.PASSAGES, seed, person)
    most = max(1, min(cameras, count // 2))
    seen_by = sorted(dice.shuffled(range(1, cameras + 1))[: dice.integer(min(2, most), most)])
    images = [min(2, count)] * len(seen_by)
    for _ in range(count - sum(images)):
        images[dice.integer(0, len(images) - 1)] += 1
    shots: list[Shot] = []
    for camera, number in zip(seen_by, images, strict=True):
        sequence, start = dice.integer(1, 6), dice.integer(1, 90_000)
        query = dice.integer(0, number - 1) if test else -1
        for step in range(number):
            kind: Kind = "query" if step == query else "gallery" if test else "train"
            box = 0 if kind == "query" else dice.integer(1, 5)
            frame = start + 25 * step
            shots.append(Shot(kind, seed, person, camera, step, len(shots), sequence, frame, box))
    return shots


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"a seed is an integer from 0 to {MAX_SEED}, got {seed}")


def encode_shots(
    shots: Sequence[Shot], *, workers: int | None = None, description: str = "render"
) -> Iterator[bytes]:
    """Draw images of a plan and yield each as the JPEG that a population has of it, in order."""
    with Progress(description, len(shots)) as bar:
        for data in _parallel(_encode, shots, workers):
            yield data
            bar.advance()


def _encode(shot: Shot) -> bytes:
    buffer = io.BytesIO()
    # Fixed quality and 4:2:0 chroma, as cameras write it. Pillow's libjpeg-turbo is bit-exact.
    PillowImage.fromarray(draw_shot(shot)).save(buffer, "JPEG", quality=90, subsampling="4:2:0")
    return buffer.getvalue()


def _write(root: Path, shot: Shot) -> None:
    """Draw one image and write it as JPEG."""
    (root / shot.path).write_bytes(_encode(shot))


def _parallel(
    function: Callable[[Shot], T], shots: Iterable[Shot], workers: int | None
) -> Iterator[T]:
    """Yield `function(shot)` in order, computed by `workers` processes."""
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from map(function, shots)
        return
    # Spawned, not forked: the parent may run threads (PyTorch, MLflow).
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        yield from pool.map(function, shots, chunksize=32)


def _start_worker() -> None:
    cv2.setNumThreads(1)
