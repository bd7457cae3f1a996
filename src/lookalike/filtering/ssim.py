"""Structural similarity (Wang et al. 2004) of crops, on luma: 1 for the same image, 0 for unlike.

Window 7x7, uniform, K1 = 0.01, K2 = 0.03, sample covariance: scikit-image's defaults. The values
are scikit-image's to 1e-12.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt

from lookalike.data.loading import Images
from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Crops, Filter, Mask, Material
from lookalike.filtering.sharing import Groups, shared_by_person
from lookalike.progress import Progress
from lookalike.training.session import Session

Floats = npt.NDArray[np.float64]
WINDOW = 7
BORDER = WINDOW // 2  # where a window reaches beyond the image
SAMPLE = WINDOW**2 / (WINDOW**2 - 1)  # from a variance to that of a sample
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
AT_ONCE = 64  # images of one thread's job


def luma(images: Images) -> Floats:
    """Rec. 601 luma in [0, 255]: uint8 [N, H, W, 3] to float64 [N, H, W].

    Takes 32 bytes a pixel meanwhile: for a person's images, not for a data set's.
    """
    return np.asarray(images @ np.array([0.299, 0.587, 0.114]))


def ssim_to(
    images: Images, references: Sequence[int], rows: npt.NDArray[np.intp] | None = None
) -> Floats:
    """SSIM of each image i to the image at position `references[i]`: float64 [N].

    A reference's own sums are taken once for many images. Each of these is compared by itself, so
    that all that is needed stays in the processor's cache, and memory does not grow with N.

    Args:
        images: uint8 [N, H, W, 3].
        references: positions [N].
        rows: positions [M] of those to score, in this order; None: all.
    """
    rows = np.arange(len(images)) if rows is None else rows
    compared: dict[int, list[int]] = {}
    for position, row in enumerate(rows):
        compared.setdefault(references[row], []).append(position)
    jobs = [
        (reference, positions[start : start + AT_ONCE])
        for reference, positions in compared.items()
        for start in range(0, len(positions), AT_ONCE)
    ]
    scores = np.empty(len(rows), dtype=np.float64)

    def score(job: tuple[int, list[int]]) -> int:
        reference, positions = job
        compare = _Comparison(luma(images[reference]))
        for position in positions:
            scores[position] = compare(luma(images[rows[position]]))
        return len(positions)

    with ThreadPoolExecutor() as pool, Progress("ssim", len(rows)) as progress:
        for count in pool.map(score, jobs):
            progress.advance(count)
    return scores


class _Comparison:
    """Mean SSIM over all whole windows of images [H, W] to one of them."""

    def __init__(self, reference: Floats):
        self._reference, self._mean = reference, _window_means(reference)
        self._square = self._mean * self._mean
        self._power = _window_means(reference * reference)

    def __call__(self, image: Floats) -> float:
        mean = _window_means(image)
        both, squares = mean * self._mean, mean * mean + self._square
        variances = _window_means(image * image) + self._power - squares
        covariance = _window_means(image * self._reference) - both
        ssim = (2 * both + C1) * (2 * SAMPLE * covariance + C2)
        ssim /= (squares + C1) * (SAMPLE * variances + C2)
        return float(ssim[BORDER:-BORDER, BORDER:-BORDER].mean())


def _window_means(plane: Floats) -> Floats:
    """Mean of the window around every pixel of [H, W]; what lies outside is mirrored."""
    return np.asarray(cv2.boxFilter(plane, cv2.CV_64F, (WINDOW, WINDOW)))


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
    return _to_first(material.generated, first, material.session)


def _score_real(material: Material) -> Scores:
    train = material.train
    first = _first_images(train, np.ones(len(train.rows), dtype=bool))
    later = first != np.arange(len(first))  # a first image's likeness to itself says nothing
    scores: Scores = _to_first(train, first, material.session)[later]
    return scores


def _to_first(crops: Crops, first: npt.NDArray[np.intp], session: Session | None) -> Scores:
    references = first.tolist()

    def score(groups: Groups) -> Scores:
        return ssim_to(crops.images, references, np.concatenate(groups))

    return shared_by_person(score, crops, session)


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
