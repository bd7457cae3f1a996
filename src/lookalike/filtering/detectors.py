"""Is there a pedestrian in the crop? Two detectors behind one protocol.

A crop shows one person who fills it, so a detector's score of a crop is the best score that it
gives to any person in it; where the person stands does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.data.loading import Images, resize
from lookalike.errors import UserError
from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Detector, Filter
from lookalike.progress import Progress
from lookalike.weights import find, of_detector

Crop = npt.NDArray[np.uint8]


class HogDetector:
    """OpenCV's people detector: HOG and a linear SVM (Dalal & Triggs 2005); comes with OpenCV.

    The SVM was trained on 128x64 windows with a margin of 16 pixels around the person. A crop has
    less, so it is resized to 104x52 and continued by its border pixels; the score is the best of
    the windows that lie up to 8 pixels apart (about -3 to 4; the SVM's own bound is 0).

    HOG normalises contrast block by block, and so takes a blurred outline for a sharp one. A fixed
    grain as strong as a camera's noise drowns edges that are weaker than it.
    """

    height, width = 104, 52  # of the resized crop
    search = 8  # pixels between the outermost windows
    grain = 3.0  # standard deviation, in grey levels

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
        return _map(self._score, images, "detector: hog")

    def _score(self, image: Crop) -> float:
        grey = cv2.cvtColor(
            resize(Image.fromarray(image), self.height, self.width), cv2.COLOR_RGB2GRAY
        )
        y, x = self._pad_y, self._pad_x
        padded = cv2.copyMakeBorder(grey, y, y, x, x, cv2.BORDER_REPLICATE)
        grainy = (padded + self._grain).round().clip(0, 255).astype(np.uint8)
        descriptors = np.asarray(self._hog.compute(grainy, winStride=(4, 4)))
        windows = descriptors.reshape(-1, len(self._weights))
        return float((windows @ self._weights).max() + self._bias)


class YoloDetector:
    """A Darknet YOLO (the study: YOLOv4-tiny on COCO) through OpenCV; scores lie in [0, 1].

    As Darknet does, the crop is stretched to the network's square input. The score is the highest
    confidence (objectness times class probability) of class 0, COCO's person; OpenCV reports 0
    for confidences below 0.2.

    OpenCV reads a truncated weights file without complaint: take both from `weights.find`.

    Args:
        cfg: Darknet's network description, `yolov4-tiny.cfg`.
        weights: Darknet's weights, `yolov4-tiny.weights`.
        size: input side in pixels, a multiple of 32.

    Raises:
        UserError: OpenCV cannot read the pair of files.
    """

    def __init__(self, cfg: Path, weights: Path, size: int = 416):
        self.size = size
        try:
            self._net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
        except cv2.error as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"OpenCV cannot read {cfg} with {weights}: {reason}") from error
        self._outputs = self._net.getUnconnectedOutLayersNames()

    def score(self, images: Images) -> Scores:
        """See Detector."""
        # OpenCV's network is one object with its own threads: one crop after the other.
        return _map(self._score, images, "detector: yolov4-tiny", threads=1)

    def _score(self, image: Crop) -> float:
        self._net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, (self.size, self.size)))
        # Each output is [boxes, 5 + classes]: x, y, width, height, objectness, confidences.
        return float(max(boxes[:, 5].max() for boxes in self._net.forward(self._outputs)))


# By the names of `filter.detector`. They take the files of `weights.of_detector`, in that order.
DETECTORS: dict[str, Callable[..., Detector]] = {"hog": HogDetector, "yolov4-tiny": YoloDetector}
DETECTOR = Filter(
    "detector",
    lambda config: config.detector_threshold,
    lambda material: material.detector.score(material.generated.images),
    lambda material: material.detector.score(material.train.images),
    "real train images",
)


def load_detector(name: str, root: Path) -> Detector:
    """The detector that `filter.detector` names; `root` is the repository root.

    Raises:
        UserError: a file of its weights is missing or wrong.
    """
    return DETECTORS[name](*(find(file, root) for file in of_detector(name)))


def _map(
    score: Callable[[Crop], float], images: Images, description: str, threads: int | None = None
) -> Scores:
    scores = np.empty(len(images), dtype=np.float64)
    with ThreadPoolExecutor(threads) as pool, Progress(description, len(images)) as progress:
        for index, value in enumerate(pool.map(score, images)):
            scores[index] = value
            progress.advance()
    return scores
