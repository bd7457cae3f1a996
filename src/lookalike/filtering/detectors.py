"""Is there a pedestrian in the crop? The detectors, behind one protocol.

A crop shows one person who fills it, so a detector's score of a crop is the best score that it
gives to any person in it; where the person stands does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lookalike.data.loading import Images, resize
from lookalike.filtering.calibration import Scores
from lookalike.filtering.darknet import load_darknet
from lookalike.filtering.filter import Detector, Filter, Material
from lookalike.filtering.sharing import UNIT
from lookalike.progress import Progress
from lookalike.reid.model import exact_float32
from lookalike.training.sharing import shared
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
    """A Darknet YOLO (the study: YOLOv4-tiny on COCO); scores lie in [0, 1].

    As Darknet does, the crop is stretched to the network's square input. The score is the highest
    confidence (objectness times class probability) of class 0, COCO's person. Like an embedder, a
    GPU computes as exactly as the CPU.

    Args:
        cfg: Darknet's network description, `yolov4-tiny.cfg`.
        weights: Darknet's weights, `yolov4-tiny.weights`.
        size: input side in pixels, a multiple of 32.
        device: where to compute.

    Raises:
        UserError: the pair of files cannot be read; see `darknet.load_darknet`.
    """

    batch_size = 16  # larger ones are no faster on a CPU (measured)

    def __init__(
        self, cfg: Path, weights: Path, size: int = 416, device: torch.device | str = "cpu"
    ):
        self.size, self.device = size, torch.device(device)
        network = load_darknet(cfg, weights).eval().to(self.device)
        # Pixels come with their channels last; a CPU needs a quarter less time for them so.
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def score(self, images: Images) -> Scores:
        """See Detector."""
        scores = np.empty(len(images), dtype=np.float64)
        with (
            exact_float32(self.device),
            ThreadPoolExecutor() as pool,
            Progress("detector: yolov4-tiny", len(images)) as progress,
        ):
            for start in range(0, len(images), self.batch_size):
                batch = images[start : start + self.batch_size]
                pixels = torch.from_numpy(np.stack(list(pool.map(self._stretch, batch))))
                confidences = self._network(_in_planes(pixels.to(self.device)))
                scores[start : start + len(batch)] = confidences[..., 0].amax(1).cpu().numpy()
                progress.advance(len(batch))
        return scores

    def _stretch(self, image: Crop) -> Crop:
        return np.asarray(cv2.resize(image, (self.size, self.size)), np.uint8)


def _in_planes(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in [0, 1], the channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def _shared(material: Material, images: Images) -> Scores:
    return shared(material.detector.score, images, material.session, UNIT)


DETECTOR = Filter(
    "detector",
    lambda config: config.detector_threshold,
    lambda material: _shared(material, material.generated.images),
    lambda material: _shared(material, material.train.images),
    "real train images",
)


# How each is made of the device and of its weights' files: those of `weights.FILES` whose names
# begin with its own, in their order. The names are those of `FilterConfig.detector`.
DETECTORS: dict[str, Callable[[Sequence[Path], torch.device], Detector]] = {
    "hog": lambda files, device: HogDetector(),
    "yolov4-tiny": lambda files, device: YoloDetector(files[0], files[1], device=device),
}


def load_detector(name: str, root: Path, device: torch.device | str = "cpu") -> Detector:
    """The detector that `filter.detector` names; `root` is the repository root.

    HOG computes on the CPU always.

    Raises:
        UserError: a file of its weights is missing or wrong.
    """
    files = [find(file, root) for file in of_detector(name)]
    return DETECTORS[name](files, torch.device(device))
