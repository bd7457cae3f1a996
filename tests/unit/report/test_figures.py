from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.data.manifest import new_manifest
from lookalike.report.figures import (
    BLUE,
    FRAME,
    GAP,
    GREEN,
    RED,
    contact_sheet,
    heat_maps,
    kept_and_rejected,
    ranked_lists,
    sources_and_variations,
)


def crops(*shape: int, seed: int = 0) -> np.ndarray:
    """Smooth random crops [..., 128, 64, 3]: a coarse pattern enlarged, as photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (*shape, 16, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=-3).repeat(8, axis=-2)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def contains(sheet: np.ndarray, crop: np.ndarray) -> bool:
    """Whether the exact crop stands somewhere in the sheet."""
    height, width = crop.shape[:2]
    corners = np.argwhere((sheet[: 1 - height, : 1 - width] == crop[0, 0]).all(axis=2))
    return any(np.array_equal(sheet[y : y + height, x : x + width], crop) for y, x in corners)


def count(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((sheet == colour).all(axis=2).sum())


def frame_area(crop: np.ndarray) -> int:
    """Pixels in the frame around one crop."""
    height, width = crop.shape[:2]
    return (height + 2 * FRAME) * (width + 2 * FRAME) - height * width


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


def test_ranked_lists_frames_right_and_wrong_matches(tmp_path: Path) -> None:
    queries, matches = crops(2), crops(2, 3, seed=1)
    correct = np.array([[True, False, True], [False, False, False]])
    scores = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, np.nan]], dtype=np.float32)
    ranked_lists(queries, matches, correct, scores, tmp_path / "ranked.png")
    sheet = pixels(tmp_path / "ranked.png")
    frame = frame_area(queries[0])
    assert (count(sheet, BLUE), count(sheet, GREEN), count(sheet, RED)) == (
        2 * frame,
        2 * frame,
        3 * frame,
    )
    assert contains(sheet, matches[1, 1])
    assert not contains(sheet, matches[1, 2])  # NaN: the gallery had no third image


def test_ranked_lists_refuses_shapes_that_differ(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        ranked_lists(
            crops(2), crops(2, 3), np.ones((2, 4), bool), np.ones((2, 3)), tmp_path / "r.png"
        )


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


def test_kept_and_rejected_groups_by_reason(tmp_path: Path) -> None:
    reasons = ["", "", "", "ssim", "detector", "detector"]
    rows = new_manifest(
        [
            {
                "image_id": f"i{n}",
                "person_id": "syn-000001",
                "camera_id": 0,
                "split": "train",
                "origin": "person",
                "member": f"i{n}.jpg",
                "width": 64,
                "height": 128,
                "sha256": "",
                "detector_score": 0.5,
                "verdict": "rejected" if reason else "kept",
                "reason": reason,
            }
            for n, reason in enumerate(reasons)
        ]
    )
    images = crops(6)
    kept_and_rejected(images, rows, tmp_path / "k.png", columns=1)
    sheet = pixels(tmp_path / "k.png")
    frame = frame_area(images[0])
    # Two lines of one column: two of the three kept ones, both ends of the even spread.
    assert count(sheet, GREEN) == 2 * frame
    assert count(sheet, RED) == 3 * frame
    assert contains(sheet, images[0])
    assert contains(sheet, images[2])
    assert not contains(sheet, images[1])
    with pytest.raises(ValueError, match="5 images for 6"):
        kept_and_rejected(images[:5], rows, tmp_path / "k.png")


def test_heat_maps_stand_beside_their_crops_and_are_bright_where_the_map_is(
    tmp_path: Path,
) -> None:
    image, heat = np.zeros((1, 128, 64, 3), np.uint8), np.zeros((1, 4, 2), np.float32)
    heat[0, 0] = 1  # the top
    heat_maps(image, heat, tmp_path / "h.png", of="attention")
    sheet = pixels(tmp_path / "h.png")[-128 - FRAME - GAP :]
    right = sheet[:128, 2 * (GAP + FRAME) + 64 + FRAME :][:, :64]
    assert right[:16].mean() > 100 > 20 > right[-16:].mean()
