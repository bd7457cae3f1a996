"""Random views of re-ID crops, a batch at once, from torch's random state."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lookalike.reid.model import IMAGENET_MEAN

CROP_SHARE = 16  # crops move by up to height / CROP_SHARE pixels in each direction
ERASED_AREA = (0.02, 0.4)  # share of the image (Zhong et al. 2020, 4)
ERASED_ASPECT = (0.3, 1 / 0.3)  # height to width


def augment(x: Tensor) -> Tensor:
    """Mirror half of the images and shift each by whole pixels; torch's random state.

    The shift is what padding with the border's pixels and cropping does. Both only choose which
    pixel goes where, so one gather does it for the batch [N, 3, H, W].
    """
    count, _, height, width = x.shape
    reach = height // CROP_SHARE
    shift = torch.randint(-reach, reach + 1, (2, count, 1), device=x.device)
    mirror = torch.rand(count, 1, device=x.device) < 0.5
    rows = (torch.arange(height, device=x.device) + shift[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) + shift[1]).clamp(0, width - 1)
    columns = torch.where(mirror, width - 1 - columns, columns)
    image = torch.arange(count, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def erase(x: Tensor, probability: float) -> Tensor:
    """Random erasing (Zhong et al. 2020): a rectangle of an image becomes ImageNet's mean colour.

    For a batch [N, 3, H, W] in [-1, 1] at once, each image with this probability. Area and aspect
    are drawn as in the paper; a rectangle that does not fit is cut to the image instead of drawn
    again.
    """
    count, _, height, width = x.shape
    area, aspect, top, left, chance = torch.rand(5, count, 1, device=x.device)
    low, high = (math.log(bound) for bound in ERASED_ASPECT)
    aspect = torch.exp(low + (high - low) * aspect)
    area = height * width * (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area)
    tall = (area * aspect).sqrt().round().clamp(1, height)
    wide = (area / aspect).sqrt().round().clamp(1, width)
    top = (top * (height - tall + 1)).floor()
    left = (left * (width - wide + 1)).floor()
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    rows = (rows >= top) & (rows < top + tall) & (chance < probability)
    columns = (columns >= left) & (columns < left + wide)
    erased = rows[:, None, :, None] & columns[:, None, None, :]
    mean = x.new_tensor(IMAGENET_MEAN).view(3, 1, 1) * 2 - 1
    return torch.where(erased, mean, x)
