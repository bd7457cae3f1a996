"""Crops for sheets, and what stands in a sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lookalike.report.figures import FRAME


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
