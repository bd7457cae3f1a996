"""Distances between folders of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lookalike.data.loading import Images, encode_jpeg, resize_batch
from lookalike.errors import UserError
from lookalike.metrics import folders
from lookalike.metrics.features import FloatMatrix
from lookalike.metrics.folders import compare_folders


class Pixels:
    """The mean colours of the picture's halves."""

    name, kernel_name, dim, digest = "frechet_halves", "kernel_halves", 6, "1"

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, images: Images) -> FloatMatrix:
        self.seen.append(images.shape)
        return resize_batch(images, 2, 1).reshape(len(images), 6).astype(np.float32) / 255


def fill(folder: Path, count: int, size: tuple[int, int], seed: int = 0, low: int = 0) -> None:
    random = np.random.default_rng(seed)
    for index in range(count):
        place = folder / ("a" if index % 2 else "b")
        place.mkdir(parents=True, exist_ok=True)
        colour = random.integers(low, 256, 3)
        picture = np.full((*size, 3), colour, np.uint8)
        (place / f"{index}.jpg").write_bytes(encode_jpeg(picture))


def test_the_same_pictures_are_no_distance_apart_and_others_are(tmp_path: Path) -> None:
    fill(tmp_path / "real", 12, (32, 16))
    fill(tmp_path / "same", 12, (32, 16))
    fill(tmp_path / "bright", 12, (48, 24), seed=1, low=200)
    extract = Pixels()
    same, counts = compare_folders(tmp_path / "real", tmp_path / "same", extract, tmp_path / "c")
    assert counts == {"real": 12, "other": 12}
    assert same["frechet_halves"] == pytest.approx(0, abs=1e-5)
    assert same["precision"] == same["recall"] == 1
    bright, _ = compare_folders(tmp_path / "real", tmp_path / "bright", extract, tmp_path / "c")
    assert bright["frechet_halves"] > 0.1
    # All in the size of the first folder's pictures.
    assert {shape[1:] for shape in extract.seen} == {(32, 16, 3)}


def test_too_few_none_and_broken_pictures_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "real", 5, (32, 16))
    fill(tmp_path / "few", 3, (32, 16))
    for folder, message in (("few", "few holds 3 pictures"), ("none", "no folder at")):
        with pytest.raises(UserError, match=message):
            compare_folders(tmp_path / "real", tmp_path / folder, Pixels(), tmp_path / "c")
    fill(tmp_path / "broken", 5, (32, 16))
    (tmp_path / "broken" / "a" / "1.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"broken.a.1\.jpg"):
        compare_folders(tmp_path / "real", tmp_path / "broken", Pixels(), tmp_path / "c")


def test_what_is_wrong_with_the_second_folder_is_found_before_the_first_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "decode", lambda data, name: pytest.fail(f"decoded {name}"))
    fill(tmp_path / "real", 5, (32, 16))
    fill(tmp_path / "few", 3, (32, 16))
    fill(tmp_path / "page", 5, (32, 16))
    (tmp_path / "page" / "a" / "1.jpg").write_text("<html>")
    fill(tmp_path / "linked", 5, (32, 16))
    (tmp_path / "linked" / "z.jpg").symlink_to("nothing")
    for name, message in {
        "gone": "no folder at .*gone",
        "few": "few holds 3 pictures",
        "page": r"1\.jpg is not a readable image: it is an HTML page",
        "linked": r"no picture at .*z\.jpg",
    }.items():
        with pytest.raises(UserError, match=message):
            compare_folders(tmp_path / "real", tmp_path / name, Pixels(), tmp_path / "c")
