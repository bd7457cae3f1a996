"""Rendered populations: Market-1501's layout and protocol, and the same bytes everywhere."""

import hashlib
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.data.population import plan_population, render_crops, render_population
from lookalike.errors import UserError

SIZE: dict[str, Any] = {
    "seed": 9,
    "train_persons": 4,
    "test_persons": 3,
    "images_per_person": 8,
    "distractors": 5,
    "junk": 5,
}
# Of the rendering below. It changes when the renderer does, and then on purpose: `data.dvc`, the
# starting generator and the README's pictures belong to these bytes.
DIGEST = "1ad12a9c52105d836e13fb871b288f2f4823c04204ee68bea91db0422d03ba6e"
NAME = re.compile(r"(-1|\d{4})_c([1-6])s([1-6])_(\d{6})_(\d{2})\.jpg")


def digest(root: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.jpg")):
        total.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    folder = tmp_path_factory.mktemp("population")
    return folder, render_population(folder, **SIZE, workers=1, progress=False)


@pytest.fixture(scope="module")
def root(rendered: tuple[Path, dict[str, int]]) -> Path:
    return rendered[0]


def parsed(root: Path, folder: str) -> list[tuple[int, int]]:
    """Return (person, camera) of each image; fails on a name that Market-1501 would not have."""
    matches = [NAME.fullmatch(path.name) for path in sorted((root / folder).iterdir())]
    assert all(matches)
    return [(int(match[1]), int(match[2])) for match in matches if match]


def test_bytes_are_the_recorded_ones(root: Path) -> None:
    assert digest(root) == DIGEST


def test_bytes_do_not_depend_on_the_number_of_workers(root: Path, tmp_path: Path) -> None:
    render_population(tmp_path, **SIZE, workers=2, progress=False)
    assert digest(tmp_path) == digest(root)


def test_rendering_again_into_the_same_folder_changes_nothing_and_a_foreign_file_stops_it(
    root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    render_population(tmp_path, **SIZE, workers=1, progress=False)
    assert digest(tmp_path) == digest(root)
    (tmp_path / "query" / "0900_c1s1_000001_00.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="holds other images"):
        render_population(tmp_path, **SIZE, workers=1, progress=False)


def test_layout_counts_and_sizes(rendered: tuple[Path, dict[str, int]]) -> None:
    root, counts = rendered
    train, query = parsed(root, "bounding_box_train"), parsed(root, "query")
    gallery = Counter(person for person, _ in parsed(root, "bounding_box_test"))
    assert (counts["distractor"], counts["junk"]) == (gallery[0], gallery[-1]) == (5, 5)
    assert counts["train"] == len(train)
    assert counts["query"] == len(query)
    assert counts["gallery"] == sum(gallery.values()) - 10
    assert len({person for person, _ in train}) == 4
    assert len({person for person, _ in query}) == 3
    for path in root.rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (64, 128), "RGB")


def test_no_two_images_are_alike(root: Path) -> None:
    contents = [path.read_bytes() for path in root.rglob("*.jpg")]
    assert len(set(contents)) == len(contents)


@pytest.mark.parametrize(("mean", "cameras"), [(4, 2), (4, 6), (7, 6), (22, 6), (30, 12)])
def test_protocol(mean: int, cameras: int) -> None:
    shots = plan_population(
        seed=3,
        train_persons=40,
        test_persons=40,
        images_per_person=mean,
        distractors=20,
        junk=20,
        cameras=cameras,
    )
    assert len({shot.path for shot in shots}) == len(shots)
    persons: dict[str, set[int]] = defaultdict(set)
    for shot in shots:
        persons[shot.kind].add(shot.person)
    assert persons["train"].isdisjoint(persons["query"] | persons["gallery"])
    queries = [(shot.person, shot.camera) for shot in shots if shot.kind == "query"]
    assert len(set(queries)) == len(queries), "one query per person and camera"
    gallery = {(shot.person, shot.camera) for shot in shots if shot.kind == "gallery"}
    assert gallery == set(queries), "a query from each camera that saw the person"
    for person, camera in queries:
        assert any(p == person and c != camera for p, c in gallery), "no valid match"
    named = [shot for shot in shots if shot.kind in ("train", "query", "gallery")]
    assert len(named) / 80 == pytest.approx(mean, rel=0.12)


def test_the_number_of_persons_does_not_change_a_person(root: Path, tmp_path: Path) -> None:
    """Image (seed, person, index) is the same in a population of another size."""
    bigger = {**SIZE, "junk": 9}
    render_population(tmp_path, **bigger, workers=1, progress=False)
    for path in root.glob("bounding_box_train/*.jpg"):
        assert (tmp_path / path.relative_to(root)).read_bytes() == path.read_bytes()


def test_crops_in_memory() -> None:
    crops = render_crops(5, 2, 3, 64, 32, workers=1, progress=False)
    assert (crops.shape, crops.dtype) == ((6, 64, 32, 3), np.uint8)
    full = render_crops(5, 2, 3, 128, 64, workers=1, progress=False)
    means = full.reshape(6, 64, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(crops - means).mean() < 4
    other = render_crops(6, 2, 3, 64, 32, workers=1, progress=False)
    assert not any((a == b).all() for a in crops for b in other)


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"seed": 2**32}, {"images_per_person": 3}, {"cameras": 1}, {"junk": -1}],
)
def test_impossible_sizes_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        render_population(tmp_path, **{**SIZE, **wrong}, progress=False)
