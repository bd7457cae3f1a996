"""Two codes of an image: who is in it, and how they are seen.

As in DG-Net (Zheng et al. 2019, "Joint Discriminative and Generative Learning for Person
Re-identification"), the *appearance* code is read from the image and decides on clothes, hair and
bags; the *structure* code is read from a grey copy and decides on pose, place, camera and light.
They are the generator's styles: the first ones are the structure, the others the appearance. The
appearance of one image in the structure of another is then one synthesis away.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lookalike.inversion.backbone import backbone, check_size
from lookalike.inversion.encoder import Encoder, EncoderNetwork
from lookalike.stylegan3.generator import Generator

LUMA = (0.299, 0.587, 0.114)  # Rec. 601


def grey(images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Grey copies [N, 3, H, W] of images.

    Args:
        images: [N, 3, H, W].
        weights: [N, 3] of the channels, each row with the sum 1; None: luma.
    """
    if weights is None:
        weights = images.new_tensor(LUMA).expand(len(images), 3)
    return torch.einsum("nchw,nc->nhw", images, weights)[:, None].expand_as(images)


class CodeNetwork(EncoderNetwork):
    """One backbone with a linear head per style.

    Args:
        height, width: of the images, pixels.
        channels: width of the first stage; doubles per stage up to eightfold.
        num_ws, w_dim: shape of the generator's latents.
        structure_styles: how many of the styles, from the first, are the structure.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        num_ws: int,
        w_dim: int,
        structure_styles: int,
    ):
        assert 0 < structure_styles < num_ws
        super().__init__(height, width, channels)
        self.backbone, features = backbone(height, width, channels, 3)
        self.structure_styles = structure_styles
        # Zero at first: training starts at the average latent.
        self.head_weight = nn.Parameter(torch.zeros(num_ws, features, w_dim))
        self.head_bias = nn.Parameter(torch.zeros(num_ws, w_dim))

    def structure(self, images: Tensor) -> Tensor:
        """Grey [N, 3, height, width] in [-1, 1] -> styles less w_avg [N, structure, w_dim]."""
        return self._read(images, slice(None, self.structure_styles))

    def appearance(self, images: Tensor) -> Tensor:
        """[N, 3, height, width] in [-1, 1] -> styles less w_avg [N, num_ws - structure, w_dim]."""
        return self._read(images, slice(self.structure_styles, None))

    def _read(self, images: Tensor, heads: slice) -> Tensor:
        check_size(images, self.height, self.width)
        features = self.backbone(images).flatten(1)
        scale = features.shape[1] ** -0.5  # keeps Adam's step independent of the map's size
        code = torch.einsum("nf,sfw->nsw", features * scale, self.head_weight[heads])
        return code + self.head_bias[heads]


class CodeEncoder(Encoder):
    """Two codes in one step.

    Args:
        network: of the generator's canvas.
        generator: to draw with.
    """

    network: CodeNetwork

    def __init__(self, network: CodeNetwork, generator: Generator):
        super().__init__(network, generator, steps=1)
        self.structure_styles = network.structure_styles

    def refinements(self, appearances: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """See Encoder."""
        ws = self._read(appearances, targets)
        yield ws, self.generator.synthesis(ws)

    @torch.no_grad()
    def invert(self, images: Tensor) -> Tensor:
        """See Encoder; nothing is drawn."""
        return self._read(images, images)

    def _read(self, appearances: Tensor, targets: Tensor) -> Tensor:
        structure = self.network.structure(grey(targets))
        appearance = self.network.appearance(appearances)
        return self.w_avg + torch.cat([structure, appearance], dim=1).float()
