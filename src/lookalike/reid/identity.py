"""Differentiable re-ID features: the identity term of the encoder's loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lookalike.reid.model import ReidNet


class IdentityFeatures(nn.Module):
    """Embeddings of [-1, 1] images of any size by a frozen re-ID network; gradients flow through.

    Resizing is bilinear here, because Pillow's kernel has no gradient; between equal sizes nothing
    is resized.
    """

    def __init__(self, model: ReidNet):
        super().__init__()
        self.model = model.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, D] of images [N, 3, H, W]."""
        size = (self.model.height, self.model.width)
        if images.shape[2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return self.model.features(images)
