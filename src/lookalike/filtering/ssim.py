"""Structural similarity (Wang et al. 2004) of crops, on luma: 1 for the same image, 0 for unlike.

Window 7x7, uniform, K1 = 0.01, K2 = 0.03, sample covariance: scikit-image's defaults. The values
are scikit-image's to 1e-12; many crops at once make them several times faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from lookalike.data.loading import Images
from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Crops, Filter, Mask, Material
from lookalike.progress import Progress

Floats = npt.NDArray[np.float64]
WINDOW = 7
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
PIXELS_AT_ONCE = 1 << 16  # of one thread: what its sums need stays in the cache (measured)


def luma(images: Images) -> Floats:
    """Rec. 601 luma in [0, 255]: uint8 [N, H, W, 3] to float64 [N, H, W].

    Takes 32 bytes a pixel meanwhile: for a person's images, not for a data set's.
    """
    return np.asarray(images @ np.array([0.299, 0.587, 0.114]))


def ssim_to(images: Images, references: Sequence[int]) -> Floats:
    """SSIM of each image to the image at position `references[i]`: float64 [N].

    Images of one reference are compared together, a few at a time, so that memory does not grow
    with N.
    """
    compared: dict[int, list[int]] = {}
    for position, reference in enumerate(references):
        compared.setdefault(reference, []).append(position)
    step = max(1, PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    jobs = [
        (reference, positions[start : start + step])
        for reference, positions in compared.items()
        for start in range(0, len(positions), step)
    ]
    scores = np.empty(len(images), dtype=np.float64)

    def score(job: tuple[int, list[int]]) -> int:
        reference, positions = job
        scores[positions] = _ssim(luma(images[positions]), luma(images[reference][None]))
        return len(positions)

    with ThreadPoolExecutor() as pool, Progress("ssim", len(images)) as progress:
        for count in pool.map(score, jobs):
            progress.advance(count)
    return scores


def _ssim(a: Floats, b: Floats) -> Floats:
    """Mean SSIM of the images [N, H, W] to those of `b`, [N or 1, H, W], over all whole windows."""
    mean_a, mean_b = _window_means(a), _window_means(b)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    both = mean_a * mean_b
    squares = mean_a * mean_a, mean_b * mean_b
    variances = _window_means(a * a) - squares[0] + (_window_means(b * b) - squares[1])
    luminance = (2 * both + C1) / (squares[0] + squares[1] + C1)
    covariance = sample * (_window_means(a * b) - both)
    structure = (2 * covariance + C2) / (sample * variances + C2)
    return np.asarray((luminance * structure).mean(axis=(1, 2)))


def _window_means(planes: Floats) -> Floats:
    """Mean of every window that lies in the image: [N, H, W] to [N, H - 6, W - 6]."""
    _, height, width = planes.shape
    rows = planes[:, : height - WINDOW + 1].copy()
    for k in range(1, WINDOW):
        rows += planes[:, k : height - WINDOW + 1 + k]
    sums = rows[:, :, : width - WINDOW + 1].copy()
    for k in range(1, WINDOW):
        sums += rows[:, :, k : width - WINDOW + 1 + k]
    sums /= WINDOW**2
    return sums


def pairwise_ssim(grey: Floats, stride: int = 4) -> Floats:
    """SSIM of all pairs of float64 [N, H, W] luma images: float64 [N, N].

    The covariances of all pairs in one window are one matrix product, which makes 80 images a
    matter of a tenth of a second instead of the seconds that 3,160 separate comparisons take. With
    `stride` 1 the value is scikit-image's; larger strides average over a grid of the windows.
    """
    count, height, _ = grey.shape
    total, windows = np.zeros((count, count)), 0
    view = np.lib.stride_tricks.sliding_window_view(grey, (WINDOW, WINDOW), axis=(1, 2))
    for row in range(0, height - WINDOW + 1, stride):
        # [windows of this row, N, 49]
        patches = view[:, row, ::stride].reshape(count, -1, WINDOW * WINDOW).transpose(1, 0, 2)
        mean = patches.mean(axis=2)
        centred = patches - mean[..., None]
        covariance = centred @ centred.transpose(0, 2, 1) / (WINDOW * WINDOW - 1)
        variance = np.diagonal(covariance, axis1=1, axis2=2)
        a, b = mean[:, :, None], mean[:, None, :]
        luminance = (2 * a * b + C1) / (a**2 + b**2 + C1)
        structure = (2 * covariance + C2) / (variance[:, :, None] + variance[:, None, :] + C2)
        total += (luminance * structure).sum(axis=0)
        windows += len(patches)
    return total / windows


def _score(material: Material) -> Scores:
    first = _first_images(material.generated, material.left)
    return ssim_to(material.generated.images, first.tolist())


def _score_real(material: Material) -> Scores:
    train = material.train
    first = _first_images(train, np.ones(len(train.rows), dtype=bool))
    later = first != np.arange(len(first))  # a first image's likeness to itself says nothing
    scores: Scores = ssim_to(train.images, first.tolist())[later]
    return scores


def _first_images(crops: Crops, eligible: Mask) -> npt.NDArray[np.intp]:
    """For each row the position of its person's first eligible image, else the very first."""
    first = np.empty(len(crops.rows), dtype=np.intp)
    for rows in crops.by_person():
        candidates = rows[eligible[rows]]
        first[rows] = candidates[0] if len(candidates) else rows[0]
    return first


# To the person's first image that is kept: the study's, whose first is that which its detector has
# left. An image that is left out is no measure of the others, so only the
# search for copies, which never rejects a person's first image, comes after this filter.
SSIM = Filter(
    "ssim",
    lambda config: config.ssim_threshold,
    _score,
    _score_real,
    "real train images to the first",
)
