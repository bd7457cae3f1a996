"""What every encoder is: it reads latents of a frozen generator off images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.data.loading import Images, to_tensor, to_uint8
from lookalike.progress import Progress
from lookalike.stylegan3.generator import Generator

SHOW_PROGRESS_FROM = 64  # images; fewer are done in a moment on a GPU


class EncoderNetwork(nn.Module):
    """Built for images of one size.

    Args:
        height, width: of the images, pixels.
        channels: width of the first stage; doubles per stage up to eightfold.
    """

    def __init__(self, height: int, width: int, channels: int):
        super().__init__()
        self.height, self.width, self.channels = height, width, channels


class Encoder(ABC):
    """A network bound to the generator that it inverts.

    The generator's parameters never get gradients; its images do, with respect to the latents.

    Attributes:
        steps: of refinement.
        structure_styles: how many of the first styles are read off a grey copy and say how somebody
            is seen, while the others say who it is; 0: all are read off one image.
    """

    network: EncoderNetwork
    structure_styles: int

    def __init__(self, network: EncoderNetwork, generator: Generator, steps: int):
        assert steps > 0
        self.network, self.steps = network, steps
        self.generator = generator.eval().requires_grad_(False)
        self.w_avg: Tensor = generator.mapping.w_avg

    @abstractmethod
    def refinements(self, appearances: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (ws [N, num_ws, w_dim], reconstructions [N, 3, H, W]) after each step.

        Both are detached before the next step, as in ReStyle's training: the caller runs backward
        on what it is given, and memory holds the graph of one step only.

        Args:
            appearances: [N, 3, H, W] in [-1, 1], of the persons in `targets`; not looked at where
                there are no structure styles.
            targets: [N, 3, H, W] in [-1, 1], to be drawn.
        """

    @torch.no_grad()
    def invert(self, images: Tensor) -> Tensor:
        """Latents [N, num_ws, w_dim] of images [N, 3, H, W] in [-1, 1]."""
        for ws, _ in self.refinements(images, images):  # noqa: B007 - the last one counts
            pass
        return ws


def invert_all(encoder: Encoder, images: Images, batch_size: int = 16) -> Tensor:
    """Latents [N, num_ws, w_dim] of images uint8 [N, H, W, 3] at the generator's size."""
    device = encoder.w_avg.device
    starts = range(0, len(images), batch_size)
    parts = [to_tensor(images[start : start + batch_size], device) for start in starts]
    return torch.cat([encoder.invert(part) for part in parts])


@torch.no_grad()
def draw_all(
    generator: Generator, ws: Tensor, called: str = "reconstruct", batch_size: int = 16
) -> Images:
    """Images of latents [N, num_ws, w_dim]: uint8 [N, H, W, 3] at the generator's size.

    Args:
        generator: that draws.
        ws: on its device.
        called: for the progress.
        batch_size: images at once.
    """
    drawn = []
    with Progress(called, len(ws), visible=len(ws) >= SHOW_PROGRESS_FROM) as bar:
        for start in range(0, len(ws), batch_size):
            drawn.append(to_uint8(generator.synthesis(ws[start : start + batch_size])))
            bar.advance(len(drawn[-1]))
    return np.concatenate(drawn)


def reconstruct(encoder: Encoder, images: Images) -> Images:
    """Invert and draw again: uint8 [N, H, W, 3] at the generator's size, for figures."""
    return draw_all(encoder.generator, invert_all(encoder, images))
