"""YOLOv4-tiny (Bochkovskiy et al. 2020) by Darknet's files: the study's detector."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from lookalike.data.loading import Images
from lookalike.filtering.calibration import Scores
from lookalike.filtering.darknet import load_darknet
from lookalike.filtering.filter import Detector
from lookalike.progress import Progress
from lookalike.reid.model import exact_float32

Crop = npt.NDArray[np.uint8]


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


def load(files: Sequence[Path], device: torch.device) -> Detector:
    """See `detector.load_detector`."""
    cfg, weights = files
    return YoloDetector(cfg, weights, device=device)
