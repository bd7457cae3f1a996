"""Structural similarity (Wang et al. 2004) of crops, on luma: 1 for the same image, 0 for unlike.

Window 7x7, uniform, K1 = 0.01, K2 = 0.03, sample covariance: scikit-image's defaults. The values
are scikit-image's to 1e-12.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601
AT_ONCE = 4  # images: all that is needed of them stays in the processor's cache


def luma(images: Images, out: Floats | None = None) -> Floats:
    """Rec. 601 luma in [0, 255]: uint8 [N, H, W, 3] to float64 [N, H, W].

    Takes 32 bytes a pixel meanwhile: for a person's images, not for a data set's.
    """
    return np.matmul(images, LUMA, out=out)


def ssim_to(
    images: Images, references: Sequence[int], rows: npt.NDArray[np.intp] | None = None
) -> Floats:
    """SSIM of each image i to the image at position `references[i]`: float64 [N].

    A reference's own sums are taken once for many images, and memory does not grow with N. One
    thread does it: threads that call NumPy and OpenCV for some microseconds at a time wait for each
    other longer than they work. Processes share it (`sharing.shared_by_person`).

    Args:
        images: uint8 [N, H, W, 3].
        references: positions [N].
        rows: positions [M] of those to score, in this order; None: all.
    """
    rows = np.arange(len(images)) if rows is None else rows
    compared: dict[int, list[int]] = {}
    for position, row in enumerate(rows):
        compared.setdefault(references[row], []).append(position)
    scores = np.empty(len(rows), dtype=np.float64)
    memory = np.empty((5, AT_ONCE, *images.shape[1:3]))
    with Progress("ssim", len(rows)) as progress:
        for reference, positions in compared.items():
            compare = _Comparison(luma(images[reference]), memory)
            for start in range(0, len(positions), AT_ONCE):
                some = positions[start : start + AT_ONCE]
                scores[some] = compare(images[rows[some]])
            progress.advance(len(positions))
    return scores


class _Comparison:
    """Mean SSIM over all whole windows of a few images to one of them.

    Args:
        reference: its luma [H, W].
        memory: [5, N, H, W] to compute in, for N images at most: fresh memory takes longer to get
            than to fill.
    """

    def __init__(self, reference: Floats, memory: Floats):
        self._reference, self._memory = reference, memory
        self._mean, self._power = np.empty_like(reference), np.empty_like(reference)
        _window_means([reference, reference * reference], [self._mean, self._power])
        self._square = self._mean * self._mean

    def __call__(self, images: Images) -> list[float]:
        grey, mean, variances, covariance, both = self._memory[:, : len(images)]
        luma(images, grey)
        _window_means(grey, mean)
        np.multiply(grey, self._reference, out=both)
        _window_means(both, covariance)
        np.multiply(grey, grey, out=grey)
        _window_means(grey, variances)
        np.multiply(mean, self._mean, out=both)
        squares = np.multiply(mean, mean, out=mean)
        squares += self._square
        variances += self._power
        variances -= squares
        covariance -= both
        # (2 ab + C1) (2 cov + C2) / ((a^2 + b^2 + C1) (var a + var b + C2))
        both *= 2
        both += C1
        covariance *= 2 * SAMPLE
        covariance += C2
        both *= covariance
        squares += C1
        variances *= SAMPLE
        variances += C2
        squares *= variances
        both /= squares
        return [float(plane[BORDER:-BORDER, BORDER:-BORDER].mean()) for plane in both]


def _window_means(planes: Iterable[Floats], means: Iterable[Floats]) -> None:
    """Mean of the window around every pixel of each [H, W]; what lies outside is mirrored."""
    for plane, mean in zip(planes, means, strict=True):
        cv2.boxFilter(plane, cv2.CV_64F, (WINDOW, WINDOW), dst=mean)


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
