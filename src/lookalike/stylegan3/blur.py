"""Config R's blur of all that the discriminator sees at the start of training.

Karras et al. 2021, appendix G: early on, a discriminator that sees fine detail drives config R to
collapse. A Gaussian takes the detail away and fades out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lookalike.stylegan3.layers import full_precision

FIRST_SIGMA = 10.0  # pixels
FADE_STEPS = 6250  # optimiser steps until the blur is gone: 200 thousand images in batches of 32


def startup_sigma(images_seen: int, batch_size: int) -> float:
    """Width of the blur in pixels, fading linearly from 10 to 0."""
    return FIRST_SIGMA * max(0.0, 1 - images_seen / (FADE_STEPS * batch_size))


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images [N, C, H, W] by 2^(-(x / sigma)^2), cut off at floor(3 sigma), of unit sum.

    Beyond the image everything is 0. A sigma that reaches no neighbour returns the images as they
    are. Differentiable to any order.
    """
    radius = int(3 * sigma)
    if radius == 0:
        return images
    linear = nn.functional.linear
    height, width = images.shape[2:]
    with full_precision(images):
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        rows = linear(images, _band(width, sigma, radius, images))
        return linear(rows.mT, _band(height, sigma, radius, images)).mT


def _band(size: int, sigma: float, radius: int, like: Tensor) -> Tensor:
    """The kernel as a matrix [size, size]; one product, however far it reaches."""
    taps = torch.arange(-radius, radius + 1, device=like.device, dtype=torch.float64)
    total = torch.exp2(-((taps / sigma) ** 2)).sum()
    position = torch.arange(size, device=like.device, dtype=torch.float64)
    distance = position[:, None] - position
    kernel = torch.exp2(-((distance / sigma) ** 2)) / total
    return torch.where(distance.abs() <= radius, kernel, 0.0).to(like.dtype)
