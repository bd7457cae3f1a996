"""Is there a pedestrian in the crop? The filter, and the detectors that it may ask.

A crop shows one person who fills it, so a detector's score of a crop is the best score that it
gives to any person in it; where the person stands does not matter.
"""

from __future__ import annotations

from pathlib import Path

import torch

from lookalike.data.loading import Images
from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Detector, Filter, Material
from lookalike.filtering.sharing import UNIT
from lookalike.parts import part
from lookalike.training.sharing import shared
from lookalike.weights import find, of_detector


def _shared(material: Material, images: Images) -> Scores:
    return shared(material.detector.score, images, material.session, UNIT)


DETECTOR = Filter(
    "detector",
    lambda config: config.detector_threshold,
    lambda material: _shared(material, material.generated.images),
    lambda material: _shared(material, material.train.images),
    "real train images",
)


def load_detector(name: str, root: Path, device: torch.device | str = "cpu") -> Detector:
    """The detector that `filter.detector` names, by `load` of its module in `detectors/`.

    `load` takes the verified files of its weights, in the order of `weights.FILES`, and the device.

    Args:
        name: of the module.
        root: the repository root.
        device: where to compute.

    Raises:
        UserError: a file of its weights is missing or wrong.
    """
    files = [find(file, root) for file in of_detector(name)]
    module = part("lookalike.filtering.detectors", name)
    detector: Detector = module.load(files, torch.device(device))
    return detector
