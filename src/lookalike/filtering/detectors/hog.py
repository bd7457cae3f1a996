"""OpenCV's people detector; comes with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lookalike.data.loading import Images, resize
from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Detector
from lookalike.progress import Progress


class HogDetector:
    """OpenCV's people detector: HOG and a linear SVM (Dalal & Triggs 2005).

    The SVM was trained on 128x64 windows with a margin of 16 pixels around the person. A crop has
    less, so it is resized to 104x52 and continued by its border pixels; the score is the best of
    the windows that lie up to 8 pixels apart (about -3 to 4; the SVM's own bound is 0).

    HOG normalises contrast block by block, and so takes a blurred outline for a sharp one. A fixed
    grain as strong as a camera's noise drowns edges that are weaker than it.
    """

    height, width = 104, 52  # of the resized crop
    search = 8  # pixels between the outermost windows
    grain = 3.0  # standard deviation, in grey levels
    at_once = 1024  # crops; the threads' jobs take memory, too

    def __init__(self) -> None:
        self._hog = cv2.HOGDescriptor()
        svm = np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector()).ravel()
        self._weights, self._bias = svm[:-1], svm[-1]
        window_width, window_height = self._hog.winSize
        self._pad_y = (window_height + self.search - self.height) // 2
        self._pad_x = (window_width + self.search - self.width) // 2
        padded = (self.height + 2 * self._pad_y, self.width + 2 * self._pad_x)
        self._grain = np.random.default_rng(0).normal(0, self.grain, padded)

    def score(self, images: Images) -> Scores:
        """See Detector."""
        scores = np.empty(len(images), dtype=np.float64)
        with ThreadPoolExecutor() as pool, Progress("detector: hog", len(images)) as progress:
            for start in range(0, len(images), self.at_once):
                batch = images[start : start + self.at_once]
                scores[start : start + len(batch)] = list(pool.map(self._score, batch))
                progress.advance(len(batch))
        return scores

    def _score(self, image: npt.NDArray[np.uint8]) -> float:
        grey = cv2.cvtColor(
            resize(Image.fromarray(image), self.height, self.width), cv2.COLOR_RGB2GRAY
        )
        y, x = self._pad_y, self._pad_x
        padded = cv2.copyMakeBorder(grey, y, y, x, x, cv2.BORDER_REPLICATE)
        grainy = (padded + self._grain).round().clip(0, 255).astype(np.uint8)
        descriptors = np.asarray(self._hog.compute(grainy, winStride=(4, 4)))
        windows = descriptors.reshape(-1, len(self._weights))
        return float((windows @ self._weights).max() + self._bias)


def load(files: Sequence[Path], device: torch.device) -> Detector:
    """See `detector.load_detector`; it computes on the CPU always."""
    return HogDetector()
