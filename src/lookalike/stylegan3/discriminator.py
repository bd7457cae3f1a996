"""The residual discriminator of StyleGAN2 (Karras et al. 2020), for rectangular images."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.stylegan3.layers import (
    ACTIVATION_CLAMP,
    EPSILON,
    LRELU_GAIN,
    LRELU_SLOPE,
    REDUCED_OCTAVES,
    Linear,
    full_precision,
)
from lookalike.stylegan3.resampling import Resampler, build_upsampler

FIR = np.array([1.0, 3.0, 3.0, 1.0]) / 8
IMAGE_CHANNELS = 3
FINAL_SIDE = 4
"""Longer side of the last feature map, in pixels."""


class Blur(nn.Module):
    """Low-pass filter [1, 3, 3, 1] with zero padding; optionally keeps every second sample."""

    kernel: Tensor

    def __init__(self, size: tuple[int, int], padding: int, down: int = 1) -> None:
        super().__init__()
        blur = build_upsampler(FIR, size, 1, (padding,) * 4)
        self.resampler = Resampler(blur.rows[:, ::down], blur.columns[:, ::down]).float()
        self.padding, self.down = padding, down
        kernel = torch.from_numpy(np.outer(FIR, FIR)).float()
        self.register_buffer("kernel", kernel[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter [N, C, *size]."""
        if x.is_cuda:
            return self.convolve(x)
        planes: Tensor = self.resampler(x.flatten(0, 1))
        return planes.view(*x.shape[:2], *planes.shape[1:])

    def convolve(self, x: Tensor) -> Tensor:
        """The same, tap by tap: sixteen are fewer than a matrix has, and a GPU waits for memory."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).repeat(channels, 1, 1, 1)
        return nn.functional.conv2d(x, kernel, None, self.down, self.padding, groups=channels)


class Conv(nn.Module):
    """Convolution with equalised learning rate, then leaky ReLU if ``lrelu``, times ``gain``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        lrelu: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if lrelu else None
        self.stride, self.padding = stride, padding
        # The leaky ReLU commutes with positive factors, so all gains go into the weights.
        self.bias_gain = gain * (LRELU_GAIN if lrelu else 1.0)
        self.weight_gain = self.bias_gain / (in_channels * kernel**2) ** 0.5
        self.clamp = gain * ACTIVATION_CLAMP

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H', W']."""
        bias = None if self.bias is None else self.bias * self.bias_gain
        x = nn.functional.conv2d(x, self.weight * self.weight_gain, bias, self.stride, self.padding)
        if bias is None:
            return x
        return nn.functional.leaky_relu(x, LRELU_SLOPE).clamp(-self.clamp, self.clamp)


class DiscriminatorBlock(nn.Module):
    """Two convolutions that halve the image, beside a skip connection (figure 7c there)."""

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        # Sum of two branches: sqrt(1/2) keeps the variance.
        gain = 0.5**0.5
        self.skip_blur = Blur(size, padding=1, down=2)
        self.skip = Conv(in_channels, out_channels, kernel=1, lrelu=False, gain=gain)
        self.conv0 = Conv(in_channels, in_channels, kernel=3, padding=1)
        # The stride-2 convolution's own padding is part of the blur's.
        self.blur = Blur(size, padding=2)
        self.conv1 = Conv(in_channels, out_channels, kernel=3, stride=2, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H/2, W/2]."""
        skip: Tensor = self.skip(self.skip_blur(x))
        residual: Tensor = self.conv1(self.blur(self.conv0(x)))
        return skip + residual


class MinibatchStd(nn.Module):
    """Appends the features' mean standard deviation within groups of samples as one channel."""

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C + 1, H, W]."""
        count, channels, height, width = x.shape
        group = min(self.group, count)
        if count % group:
            raise ValueError(
                f"discriminator: a batch of {count} images cannot be split into groups of "
                f"{group} for the minibatch standard deviation; use a multiple of {group}"
            )
        grouped = x.view(group, count // group, channels, height, width)
        std = (grouped.var(0, unbiased=False) + EPSILON).sqrt().mean((1, 2, 3))
        feature = std.repeat(group).view(count, 1, 1, 1).expand(-1, -1, height, width)
        return torch.cat([x, feature], dim=1)


class Discriminator(nn.Module):
    """Judges images [N, 3, height, width] of about -1 to 1.

    ``height`` and ``width`` must be multiples of R/4, where R, the longer of them, is a power of
    two of at least 8; the last feature map is (4 height/R, 4 width/R). Raises ``ValueError``
    otherwise. ``blocks`` are ordered from the input to the output.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        mbstd_group: int = 4,
    ) -> None:
        super().__init__()
        side = max(height, width)
        if side < 2 * FINAL_SIDE or side & (side - 1):
            raise ValueError(
                f"discriminator for {height}x{width}: the longer side must be a power of two "
                f"of at least {2 * FINAL_SIDE}"
            )
        if min(height, width) <= 0 or (FINAL_SIDE * min(height, width)) % side:
            raise ValueError(
                f"discriminator for {height}x{width}: the shorter side must be a multiple "
                f"of {side // FINAL_SIDE}"
            )

        def channels(resolution: int) -> int:
            return min(channel_base // resolution, channel_max)

        self.from_rgb = Conv(IMAGE_CHANNELS, channels(side), kernel=1)
        self.blocks = nn.ModuleList()
        for halvings in range(side.bit_length() - FINAL_SIDE.bit_length()):
            resolution = side >> halvings
            self.blocks.append(
                DiscriminatorBlock(
                    channels(resolution),
                    channels(resolution // 2),
                    (height >> halvings, width >> halvings),
                )
            )
        last = channels(FINAL_SIDE)
        pixels = (FINAL_SIDE * height // side) * (FINAL_SIDE * width // side)
        self.minibatch_std = MinibatchStd(mbstd_group)
        self.conv = Conv(last + 1, last, kernel=3, padding=1)
        self.fc = Linear(last * pixels, last, lrelu=True)
        self.out = Linear(last, 1)

    def trainable_parameters(self, frozen_blocks: int = 0) -> Iterator[nn.Parameter]:
        """Parameters behind the first ``frozen_blocks`` blocks (Freeze-D, Mo et al. 2020).

        ``from_rgb`` belongs to the first block. Raises ``ValueError`` if there are fewer blocks.
        """
        if not 0 <= frozen_blocks <= len(self.blocks):
            raise ValueError(
                f"cannot freeze {frozen_blocks} blocks of a discriminator with {len(self.blocks)}"
            )
        if frozen_blocks == 0:
            yield from self.from_rgb.parameters()
        for module in (*self.blocks[frozen_blocks:], self.conv, self.fc, self.out):
            yield from module.parameters()

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits [N, 1]: large for real ones."""
        x = self.from_rgb(images)
        for block in self.blocks[:REDUCED_OCTAVES]:
            x = block(x)
        with full_precision(images):
            x = x.to(self.out.weight.dtype)
            for block in self.blocks[REDUCED_OCTAVES:]:
                x = block(x)
            x = self.conv(self.minibatch_std(x))
            logits: Tensor = self.out(self.fc(x.flatten(1)))
        return logits
