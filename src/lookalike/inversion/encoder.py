"""ReStyle-pSp: an encoder that walks to an image's latent in a few residual steps.

Alaluf et al. 2021, "ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement", with all
styles read from the final feature map (its simplified pSp). The published encoders are built for
256x256; here the number of stages follows from the canvas, which may be any rectangle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.config import EncoderConfig
from lookalike.data.loading import Images, to_tensor, to_uint8
from lookalike.errors import UserError
from lookalike.stylegan3.generator import Generator
from lookalike.training.model_file import (
    Kind,
    build_fitting,
    load_model,
    read_settings,
    save_model,
    unreadable,
)
from lookalike.training.session import state_digest

KIND: Kind = "encoder"
FINAL_SIDE = 4  # stages halve the map until its longer side is at most this
MAX_WIDENING = 8  # widest stage, in units of the first stage's channels


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016).

    Group instead of batch normalisation (Wu and He 2018), so that an image's latent does not
    depend on the images beside it, nor training on the size of a micro-batch.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(math.gcd(8, out_channels), out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(math.gcd(8, out_channels), out_channels)
        self.act = nn.PReLU(out_channels)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut: nn.Module = (
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            if changes
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, H, W] -> [N, out, ceil(H / stride), ceil(W / stride)]."""
        residual = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        output: Tensor = residual + self.shortcut(x)
        return output


class EncoderNetwork(nn.Module):
    """Image and current reconstruction in, one residual per style out.

    Args:
        height, width: of the images, pixels.
        channels: width of the first stage; doubles per stage up to eightfold.
        num_ws, w_dim: shape of the generator's latents.
    """

    def __init__(self, height: int, width: int, channels: int, num_ws: int, w_dim: int):
        super().__init__()
        self.height, self.width, self.channels = height, width, channels
        stages: list[nn.Module] = [nn.Conv2d(6, channels, 3, 1, 1), nn.PReLU(channels)]
        rows, columns, current = height, width, channels
        widening = 1
        while max(rows, columns) > FINAL_SIDE:
            target = channels * min(widening, MAX_WIDENING)
            stages += [ResidualBlock(current, target, 2), ResidualBlock(target, target, 1)]
            rows, columns, current = -(-rows // 2), -(-columns // 2), target
            widening *= 2
        self.backbone = nn.Sequential(*stages)
        # One linear head per style over the whole final map, all in one product. Zero at first:
        # training starts where ReStyle starts, at the average latent.
        self.head_weight = nn.Parameter(torch.zeros(num_ws, current * rows * columns, w_dim))
        self.head_bias = nn.Parameter(torch.zeros(num_ws, w_dim))

    def forward(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Two [N, 3, height, width] in [-1, 1] -> residuals [N, num_ws, w_dim].

        Raises:
            ValueError: the images have another size than the encoder was built for.
        """
        if images.shape[2:] != (self.height, self.width):
            raise ValueError(
                f"the encoder takes {self.height}x{self.width} images, "
                f"not {images.shape[2]}x{images.shape[3]}; resize them first"
            )
        features = self.backbone(torch.cat([images, reconstructions], dim=1)).flatten(1)
        scale = features.shape[1] ** -0.5  # keeps Adam's step independent of the map's size
        return torch.einsum("nf,sfw->nsw", features * scale, self.head_weight) + self.head_bias


class Encoder:
    """A network bound to the frozen generator that it inverts.

    The generator's parameters never get gradients; its images do, with respect to the latents.
    """

    def __init__(self, network: EncoderNetwork, generator: Generator, steps: int):
        assert steps > 0
        self.network, self.steps = network, steps
        self.generator = generator.eval().requires_grad_(False)
        self.w_avg: Tensor = generator.mapping.w_avg
        with torch.no_grad():
            start = self.w_avg.expand(1, generator.num_ws, -1)
            self._first: Tensor = generator.synthesis(start)  # what ReStyle shows at step one

    def refinements(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (ws [N, num_ws, w_dim], reconstructions [N, 3, H, W]) after each step.

        Both are detached before the next step, as in ReStyle's training: the caller runs backward
        on what it is given, and memory holds the graph of one step only.

        Args:
            images: [N, 3, H, W] in [-1, 1].
        """
        count = len(images)
        ws = self.w_avg.expand(count, self.generator.num_ws, -1)
        reconstructions = self._first.expand(count, -1, -1, -1)
        for _ in range(self.steps):
            ws = ws.detach() + self.network(images, reconstructions.detach()).float()
            reconstructions = self.generator.synthesis(ws)
            yield ws, reconstructions

    @torch.no_grad()
    def invert(self, images: Tensor) -> Tensor:
        """Latents [N, num_ws, w_dim] of images [N, 3, H, W] in [-1, 1]."""
        ws = self.w_avg.expand(len(images), self.generator.num_ws, -1)
        for ws, _ in self.refinements(images):  # noqa: B007 - the last one counts
            pass
        return ws


@torch.no_grad()
def reconstruct(encoder: Encoder, images: Images, batch_size: int = 16) -> Images:
    """Invert and draw again: uint8 [N, H, W, 3] at the generator's size, for figures."""
    device = encoder.w_avg.device
    drawn = np.empty_like(images)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        ws = encoder.invert(to_tensor(images[part], device))
        drawn[part] = to_uint8(encoder.generator.synthesis(ws))
    return drawn


@dataclass(frozen=True)
class EncoderArchitecture:
    """Everything that determines an encoder, its generator given.

    Raises ``ValueError`` if there can be no such encoder.
    """

    height: int
    width: int
    """Of the images, pixels."""
    channels: int
    """Of the network's first stage."""
    steps: int
    """Of refinement, when it inverts."""
    generator: str
    """Digest of the generator's weights; another generator's latents mean something else."""

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels, self.steps) < 1:
            raise ValueError("height, width, channels and steps must be at least 1")


def save_encoder(path: Path, encoder: Encoder, recipe: Mapping[str, Any]) -> None:
    """Write the network's weights, with the digest of the generator they belong to.

    Args:
        recipe: how it was trained, say the perceptual loss and the images seen.
    """
    network = encoder.network
    architecture = EncoderArchitecture(
        network.height,
        network.width,
        network.channels,
        encoder.steps,
        state_digest(encoder.generator.state_dict()),
    )
    save_model(path, KIND, network.state_dict(), asdict(architecture), recipe)


def load_encoder(path: Path, generator: Generator) -> Encoder:
    """Read what `save_encoder` wrote, ready to invert with `generator`.

    Raises:
        UserError: no such file, not an encoder, damaged, or trained on another generator.
    """
    model = load_model(path, KIND)
    num_ws, w_dim = generator.num_ws, generator.mapping.w_avg.shape[-1]
    try:
        own = read_settings(EncoderArchitecture, model.architecture, KIND)
        digest = state_digest(generator.state_dict())
        if own.generator != digest:
            raise UserError(
                f"{path} belongs to generator {own.generator[:12]}, not to {digest[:12]}; "
                "run `dvc repro train_encoder`"
            )
        network = build_fitting(
            lambda: EncoderNetwork(own.height, own.width, own.channels, num_ws, w_dim),
            model.tensors,
        )
    except ValueError as error:
        raise unreadable(path, error) from error
    return Encoder(network.to(generator.mapping.w_avg.device).eval(), generator, own.steps)


def new_encoder(config: EncoderConfig, generator: Generator) -> Encoder:
    """An untrained encoder for `generator`; seed torch before."""
    design = generator.config
    network = EncoderNetwork(
        design.height, design.width, config.channels, generator.num_ws, design.w_dim
    )
    return Encoder(network.to(generator.mapping.w_avg.device), generator, config.steps)
