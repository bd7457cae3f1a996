from pathlib import Path

import numpy as np
import pytest

from lookalike.report.figures import (
    BLUE,
    FRAME,
    GAP,
    GREEN,
    contact_sheet,
    sources_and_variations,
)

from .sheets import contains, count, crops, frame_area, pixels


def test_contact_sheet_shows_every_crop_enlarged_without_interpolation(tmp_path: Path) -> None:
    images = crops(7)
    contact_sheet(images, tmp_path / "sheet.png", columns=4, scale=2)
    sheet = pixels(tmp_path / "sheet.png")
    slot = (256 + 2 * FRAME + GAP, 128 + 2 * FRAME + GAP)
    assert sheet.shape == (GAP + 2 * slot[0], GAP + 4 * slot[1], 3)
    for n, image in enumerate(images):
        y = GAP + FRAME + n // 4 * slot[0]
        x = GAP + FRAME + n % 4 * slot[1]
        shown = sheet[y : y + 256, x : x + 128]
        np.testing.assert_array_equal(shown, image.repeat(2, axis=0).repeat(2, axis=1))


def test_contact_sheet_draws_borders_and_captions(tmp_path: Path) -> None:
    images = crops(2)
    path = tmp_path / "sheet.png"
    contact_sheet(images, path, borders=[GREEN, None])
    plain = pixels(path)
    assert count(plain, GREEN) == frame_area(images[0])
    assert tuple(plain[GAP, GAP]) == GREEN
    contact_sheet(images, path, borders=[GREEN, None], captions=["a caption that is wide", ""])
    captioned = pixels(path)
    assert captioned.shape[0] > plain.shape[0]
    assert captioned.shape[1] > plain.shape[1]
    # Text in dark ink lies below the first crop, nothing below the second.
    below = captioned[GAP + 128 + 2 * FRAME :]
    half = captioned.shape[1] // 2
    assert below[:, :half].min() < 100
    assert below[:, half:].min() == 255


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    images, captions = crops(5), [f"score 0.{n}" for n in range(5)]
    for name in ("a", "b"):
        contact_sheet(images, tmp_path / f"{name}{suffix}", captions=captions)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_jpeg_of_a_hundred_noisy_crops_stays_below_one_megabyte(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 6, (100, 128, 64, 3))
    images = np.clip(crops(100) + noise, 0, 255).astype(np.uint8)
    contact_sheet(images, tmp_path / "sheet.jpg", columns=20)
    assert (tmp_path / "sheet.jpg").stat().st_size < 1_000_000


def test_contact_sheet_refuses_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 captions for 2 images"):
        contact_sheet(crops(2), tmp_path / "sheet.png", captions=["one"])
    with pytest.raises(ValueError, match=r"\.png or \.jpg"):
        contact_sheet(crops(2), tmp_path / "sheet.gif")


def test_an_empty_contact_sheet_is_a_picture(tmp_path: Path) -> None:
    contact_sheet(crops(0), tmp_path / "sheet.png")
    assert pixels(tmp_path / "sheet.png").min() < 100  # it says so in ink


def test_sources_stand_left_of_reconstruction_and_variations(tmp_path: Path) -> None:
    sources, inverted, varied = crops(2), crops(2, seed=1), crops(2, 3, seed=2)
    sources_and_variations(sources, varied, tmp_path / "v.png", reconstructions=inverted)
    sheet = pixels(tmp_path / "v.png")
    step = 64 + 2 * FRAME + GAP
    row = GAP + FRAME + int(np.argwhere((sheet == BLUE).all(axis=2))[0, 0]) - GAP
    expected = [sources[0], inverted[0], *varied[0]]
    for column, crop in enumerate(expected):
        x = GAP + FRAME + column * step
        np.testing.assert_array_equal(sheet[row : row + 128, x : x + 64], crop)
    assert all(contains(sheet, crop) for crop in [sources[1], inverted[1], *varied[1]])
