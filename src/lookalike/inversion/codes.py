"""Two codes of an image: who is in it, and how they are seen.

As in DG-Net (Zheng et al. 2019, "Joint Discriminative and Generative Learning for Person
Re-identification"), the *appearance* code is read from the image and decides on clothes, hair and
bags; the *structure* code is read from a grey copy and decides on pose, place, camera and light.
Both are points of the generator's space W: its first styles take the structure, the others the
appearance. The appearance of one image in the structure of another is then one synthesis away, and
so is that of a seed.
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
    """One backbone with a linear head per code.

    Args:
        height, width: of the images, pixels.
        channels: width of the first stage; doubles per stage up to eightfold.
        w_dim: of the generator's latents.
    """

    def __init__(self, height: int, width: int, channels: int, w_dim: int):
        super().__init__(height, width, channels)
        self.backbone, features = backbone(height, width, channels, 3)
        # Zero at first: training starts at the average latent.
        self.head_weight = nn.Parameter(torch.zeros(2, features, w_dim))
        self.head_bias = nn.Parameter(torch.zeros(2, w_dim))

    def structure(self, images: Tensor) -> Tensor:
        """Grey [N, 3, height, width] in [-1, 1] -> distance from w_avg [N, w_dim]."""
        return self._read(images, 0)

    def appearance(self, images: Tensor) -> Tensor:
        """[N, 3, height, width] in [-1, 1] -> distance from w_avg [N, w_dim]."""
        return self._read(images, 1)

    def _read(self, images: Tensor, head: int) -> Tensor:
        check_size(images, self.height, self.width)
        features = self.backbone(images).flatten(1)
        scale = features.shape[1] ** -0.5  # keeps Adam's step independent of the map's size
        code: Tensor = features * scale @ self.head_weight[head] + self.head_bias[head]
        return code


def styles(structure: Tensor, appearance: Tensor, structure_styles: int, num_ws: int) -> Tensor:
    """Styles [N, num_ws, w_dim] of two codes [N, w_dim]; the first ones are of the structure."""
    parts = [(structure, structure_styles), (appearance, num_ws - structure_styles)]
    return torch.cat([code[:, None].expand(-1, count, -1) for code, count in parts], dim=1)


class CodeEncoder(Encoder):
    """Two codes in one step.

    Args:
        network: of the generator's canvas.
        generator: to draw with.
        structure_styles: of the generator's styles, which take the structure.
    """

    network: CodeNetwork

    def __init__(self, network: CodeNetwork, generator: Generator, structure_styles: int):
        assert 0 < structure_styles < generator.num_ws
        super().__init__(network, generator, steps=1)
        self.structure_styles = structure_styles

    def refinements(self, appearances: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """See Encoder."""
        structure = self.w_avg + self.network.structure(grey(targets)).float()
        appearance = self.w_avg + self.network.appearance(appearances).float()
        ws = styles(structure, appearance, self.structure_styles, self.generator.num_ws)
        yield ws, self.generator.synthesis(ws)
