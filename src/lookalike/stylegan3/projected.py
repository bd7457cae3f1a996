"""A discriminator on pretrained features (Sauer et al. 2021, "Projected GANs converge faster").

Images are seen through four frozen feature maps of a network trained on ImageNet. Frozen random
convolutions mix each map's channels (1x1) and, from coarse to fine, the maps with each other (3x3
behind a bilinear upsampling), so that no head can rely on a few features (section 3.2 there). A
small head per stride judges; only the heads are trained.

Unlike there, heads have no batch normalisation, so that accumulating equals the batch at once; and
with classes they are projection discriminators (Miyato and Koyama 2018), position by position.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lookalike.metrics.imagenet import STRIDES, FeatureMaps
from lookalike.stylegan3.layers import full_precision

MIXED = (32, 64, 128, 256)  # channels of the mixed maps, from fine to coarse
HEAD_CHANNELS = 64
FINAL_SIDE = 4  # longer side of a head's last map, at most
SLOPE = 0.2
ENLARGED = 2  # times: of a small image, as it is, the coarse maps would hold a pixel or two
MIX_SEED = 1  # of the frozen convolutions; trained heads fit one mix only


class ProjectedDiscriminator(nn.Module):
    """Judges images [N, 3, height, width] of about -1 to 1 by their ImageNet features.

    Args:
        height, width: of the images, in pixels.
        c_dim: number of classes; 0 is unconditional.

    Attributes:
        heads: what is trained, and all of the state that is worth saving.

    Raises:
        UserError: no weights of the feature network.
    """

    def __init__(self, height: int, width: int, c_dim: int = 0):
        super().__init__()
        self.size = (ENLARGED * height, ENLARGED * width)
        self.features = FeatureMaps()
        self.mix = Mix(self.features.channels, MIX_SEED)
        self.heads = nn.ModuleList(
            Head(channels, math.ceil(max(self.size) / stride), c_dim)
            for channels, stride in zip(MIXED, STRIDES, strict=True)
        )

    def train(self, mode: bool = True) -> ProjectedDiscriminator:
        """Without effect: spectral norms move by `normalise`, once a step."""
        return self

    @torch.no_grad()
    def normalise(self) -> None:
        """One power iteration of every spectral norm (Miyato et al. 2018); once a step.

        Not in `forward`, as usual, for then it would depend on the number of micro-batches.
        """
        for module in self.heads.modules():
            if nn.utils.parametrize.is_parametrized(module):
                norms = _spectral_norms(module).train()
                module.weight  # noqa: B018  computing it is the iteration
                norms.eval()

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images to logits [N, K], K positions of all heads; labels int64 [N]."""
        seen = nn.functional.interpolate(images, self.size, mode="bilinear", align_corners=False)
        with full_precision(images):
            maps = self.mix(self.features(seen.float()))
            logits = [head(m, labels) for head, m in zip(self.heads, maps, strict=True)]
        return torch.cat(logits, dim=1)


class Mix(nn.Module):
    """Random convolutions across channels and scales; frozen, and the same for the same seed."""

    def __init__(self, channels: tuple[int, ...], seed: int):
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.across_channels = nn.ModuleList(
            _random(nn.Conv2d(c, m, 1, bias=False), random)
            for c, m in zip(channels, MIXED, strict=True)
        )
        self.across_scales = nn.ModuleList(
            _random(nn.Conv2d(below, m, 3, padding=1, bias=False), random)
            for m, below in itertools.pairwise(MIXED)
        )
        self.requires_grad_(False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Mix maps from fine to coarse; each keeps its size."""
        mixed = [conv(m) for conv, m in zip(self.across_channels, maps, strict=True)]
        for fine in range(len(mixed) - 2, -1, -1):
            above = nn.functional.interpolate(
                self.across_scales[fine](mixed[fine + 1]),
                mixed[fine].shape[2:],
                mode="bilinear",
                align_corners=False,
            )
            mixed[fine] = mixed[fine] + above
        return mixed


class Head(nn.Module):
    """Halves a map of features until its longer side is four or less, then judges each position."""

    def __init__(self, channels: int, side: int, c_dim: int):
        super().__init__()
        layers: list[nn.Module] = []
        while side > FINAL_SIDE:
            layers += [_normed(nn.Conv2d(channels, HEAD_CHANNELS, 3, 2, 1)), nn.LeakyReLU(SLOPE)]
            channels, side = HEAD_CHANNELS, math.ceil(side / 2)
        layers += [_normed(nn.Conv2d(channels, HEAD_CHANNELS, 3, padding=1)), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers)
        self.out = _normed(nn.Conv2d(HEAD_CHANNELS, 1, 1))
        self.embed = nn.Embedding(c_dim, HEAD_CHANNELS) if c_dim else None
        if self.embed is not None:
            nn.init.zeros_(self.embed.weight)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Map [N, channels, H, W] to logits [N, positions]."""
        x = self.layers(x)
        logits: Tensor = self.out(x)
        if self.embed is not None:
            assert labels is not None
            logits = logits + torch.einsum("nchw,nc->nhw", x, self.embed(labels)).unsqueeze(1)
        return logits.flatten(1)


def _normed(conv: nn.Conv2d) -> nn.Module:
    normed: nn.Module = spectral_norm(conv)
    _spectral_norms(normed).eval()
    return normed


def _spectral_norms(module: nn.Module) -> nn.Module:
    """What computes the module's weight; in training mode it moves whenever it is asked."""
    return cast("nn.ModuleDict", module.parametrizations)["weight"]


def _random(conv: nn.Conv2d, random: torch.Generator) -> nn.Conv2d:
    """Kaiming's initialisation from a generator of its own."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear", generator=random)
    return conv
