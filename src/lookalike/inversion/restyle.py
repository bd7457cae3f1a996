"""ReStyle-pSp: an encoder that walks to an image's latent in a few residual steps.

Alaluf et al. 2021, "ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement", with all
styles read from the final feature map (its simplified pSp). The published encoders are built for
256x256; here the number of stages follows from the canvas, which may be any rectangle.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lookalike.inversion.backbone import backbone, check_size
from lookalike.inversion.encoder import Encoder, EncoderNetwork
from lookalike.stylegan3.generator import Generator


class ReStyleNetwork(EncoderNetwork):
    """Image and current reconstruction in, one residual per style out.

    Args:
        height, width: of the images, pixels.
        channels: width of the first stage; doubles per stage up to eightfold.
        num_ws, w_dim: shape of the generator's latents.
    """

    def __init__(self, height: int, width: int, channels: int, num_ws: int, w_dim: int):
        super().__init__(height, width, channels)
        self.backbone, features = backbone(height, width, channels, 6)
        # One linear head per style over the whole final map, all in one product. Zero at first:
        # training starts where ReStyle starts, at the average latent.
        self.head_weight = nn.Parameter(torch.zeros(num_ws, features, w_dim))
        self.head_bias = nn.Parameter(torch.zeros(num_ws, w_dim))

    def forward(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Two [N, 3, height, width] in [-1, 1] -> residuals [N, num_ws, w_dim].

        Raises:
            ValueError: the images have another size than the encoder was built for.
        """
        check_size(images, self.height, self.width)
        features = self.backbone(torch.cat([images, reconstructions], dim=1)).flatten(1)
        scale = features.shape[1] ** -0.5  # keeps Adam's step independent of the map's size
        return torch.einsum("nf,sfw->nsw", features * scale, self.head_weight) + self.head_bias


class ReStyleEncoder(Encoder):
    """A network that is shown, at each of some steps, the image and what the last step drew."""

    network: ReStyleNetwork
    structure_styles = 0

    def __init__(self, network: ReStyleNetwork, generator: Generator, steps: int):
        super().__init__(network, generator, steps)
        with torch.no_grad():
            start = self.w_avg.expand(1, generator.num_ws, -1)
            self._first: Tensor = generator.synthesis(start)  # what ReStyle shows at step one

    def refinements(self, appearances: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """See Encoder."""
        ws = self.w_avg.expand(len(targets), self.generator.num_ws, -1)
        reconstructions = self._first.expand(len(targets), -1, -1, -1)
        for _ in range(self.steps):
            ws = ws.detach() + self.network(targets, reconstructions.detach()).float()
            reconstructions = self.generator.synthesis(ws)
            yield ws, reconstructions
