"""What encoders see through: residual stages that halve the map until it is a few positions."""

from __future__ import annotations

import math

from torch import Tensor, nn

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


def backbone(height: int, width: int, channels: int, inputs: int) -> tuple[nn.Sequential, int]:
    """Stages for images of any size.

    Args:
        height, width: of the images, pixels.
        channels: width of the first stage; doubles per stage up to eightfold.
        inputs: channels of the images.

    Returns:
        The stages, and how many numbers their final map has.
    """
    stages: list[nn.Module] = [nn.Conv2d(inputs, channels, 3, 1, 1), nn.PReLU(channels)]
    rows, columns, current = height, width, channels
    widening = 1
    while max(rows, columns) > FINAL_SIDE:
        target = channels * min(widening, MAX_WIDENING)
        stages += [ResidualBlock(current, target, 2), ResidualBlock(target, target, 1)]
        rows, columns, current = -(-rows // 2), -(-columns // 2), target
        widening *= 2
    return nn.Sequential(*stages), current * rows * columns


def check_size(images: Tensor, height: int, width: int) -> None:
    """Whether images [N, C, H, W] have the size that an encoder was built for.

    Raises:
        ValueError: they have another.
    """
    if images.shape[2:] != (height, width):
        raise ValueError(
            f"the encoder takes {height}x{width} images, "
            f"not {images.shape[2]}x{images.shape[3]}; resize them first"
        )
