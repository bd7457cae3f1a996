"""How far apart two folders of pictures are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lookalike.arguments import compared_pictures, picture_file
from lookalike.data.decoding import decode
from lookalike.data.loading import Images, resize
from lookalike.metrics.comparison import Comparison
from lookalike.metrics.features import FeatureExtractor
from lookalike.progress import Progress
from lookalike.training.session import Session

AT_ONCE = 128  # pictures decoded at once


def compare_folders(
    real: Path, other: Path, extract: FeatureExtractor, cache: Path
) -> tuple[dict[str, float], dict[str, int]]:
    """Compare the pictures of `other`, folders in it included, with those of `real`.

    All are brought to the size of `real`'s first picture, because features of another resolution
    differ whatever the pictures show.

    Args:
        real: the reference; its features are kept in `cache`.
        other: what is measured, say generated pictures.
        extract: the feature space, after which the distances are called.
        cache: a folder that may be deleted at any time.

    Returns:
        `precision`, `recall`, the kernel and the Fréchet distance; and how many pictures each
        folder has.

    Raises:
        UserError: no such folder, fewer than four pictures, or one that cannot be read.
    """
    sides = [(folder, compared_pictures(folder)) for folder in (real, other)]
    for folder, found in sides:  # rather than after minutes
        for name in found:
            picture_file(folder / name)
    first = sides[0][1][0]
    width, height = decode((real / first).read_bytes(), str(real / first)).size
    reals, others = (_read(folder, found, height, width) for folder, found in sides)
    distances = Comparison(reals, extract, Session(0), cache)(others, len(others))
    return distances, {"real": len(reals), "other": len(others)}


def _read(folder: Path, names: Sequence[str], height: int, width: int) -> Images:
    """Uint8 [N, height, width, 3]."""
    images = np.empty((len(names), height, width, 3), np.uint8)

    def one(name: str) -> Images:
        path = folder / name
        return resize(decode(path.read_bytes(), str(path)), height, width)

    with ThreadPoolExecutor() as pool, Progress(f"decode {folder}", len(names)) as progress:
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            images[start : start + len(some)] = np.stack(list(pool.map(one, some)))
            progress.advance(len(some))
    return images
