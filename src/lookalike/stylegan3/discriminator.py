"""The residual discriminator of StyleGAN2 (Karras et al. 2020), for rectangular images.

With classes it is a projection discriminator (Miyato and Koyama 2018): the logit is the product of
the image's features and the label's, which a mapping network makes (Karras et al. 2020-ada).
"""

import math
from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.stylegan3.layers import (
    ACTIVATION_CLAMP,
    EPSILON,
    LRELU_GAIN,
    LRELU_SLOPE,
    REDUCED_OCTAVES,
    LabelEmbedding,
    Linear,
    full_precision,
)
from lookalike.stylegan3.resampling import Resampler, build_upsampler

FIR = np.array([1.0, 3.0, 3.0, 1.0]) / 8
IMAGE_CHANNELS = 3
FINAL_SIDE = 4
"""Longer side of the last feature map for a power of two, in pixels; up to 7 for others."""
MAPPING_LAYERS, MAPPING_LR_MUL = 8, 0.01


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
    """Two convolutions that halve the image, beside a skip connection (figure 7c there).

    Odd sides get a line of zeros at their end first.
    """

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        height, width = size
        self.pad = (0, width % 2, 0, height % 2)
        size = (height + height % 2, width + width % 2)
        # Sum of two branches: sqrt(1/2) keeps the variance.
        gain = 0.5**0.5
        self.skip_blur = Blur(size, padding=1, down=2)
        self.skip = Conv(in_channels, out_channels, kernel=1, lrelu=False, gain=gain)
        self.conv0 = Conv(in_channels, in_channels, kernel=3, padding=1)
        # The stride-2 convolution's own padding is part of the blur's.
        self.blur = Blur(size, padding=2)
        self.conv1 = Conv(in_channels, out_channels, kernel=3, stride=2, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, ceil(H/2), ceil(W/2)]."""
        if any(self.pad):
            x = nn.functional.pad(x, self.pad)
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


class LabelMapping(nn.Module):
    """Maps labels to what the image's features are compared with: 8 layers, no running mean."""

    def __init__(self, c_dim: int, width: int) -> None:
        super().__init__()
        self.embed = LabelEmbedding(c_dim, width)
        self.layers = nn.ModuleList(
            Linear(width, width, lr_mul=MAPPING_LR_MUL, lrelu=True) for _ in range(MAPPING_LAYERS)
        )

    def forward(self, labels: Tensor) -> Tensor:
        """Map labels int64 [N] to [N, width]."""
        x: Tensor = self.embed(labels)
        for layer in self.layers:
            x = layer(x)
        return x


class Discriminator(nn.Module):
    """Judges images [N, 3, height, width] of about -1 to 1, of any size from 8 pixels up.

    The image is halved, odd sides rounded up, as often as leaves the longer side 4 to 7 pixels: 4
    where it is a power of two. Channels go by the number of halvings that are left, so the
    convolutions fit any size between two powers of two. Raises ``ValueError`` for smaller images.
    ``blocks`` are ordered from the input to the output. ``c_dim`` is the number of classes.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        mbstd_group: int = 4,
        c_dim: int = 0,
    ) -> None:
        super().__init__()
        if max(height, width) < 2 * FINAL_SIDE or min(height, width) <= 0:
            raise ValueError(
                f"discriminator for {height}x{width}: the longer side must have at least "
                f"{2 * FINAL_SIDE} pixels, the shorter one must have some"
            )
        count = halvings(height, width)

        def channels(resolution: int) -> int:
            return min(channel_base // resolution, channel_max)

        self.from_rgb = Conv(IMAGE_CHANNELS, channels(FINAL_SIDE << count), kernel=1)
        self.blocks = nn.ModuleList()
        for block in range(count):
            resolution = FINAL_SIDE << count - block
            self.blocks.append(
                DiscriminatorBlock(
                    channels(resolution),
                    channels(resolution // 2),
                    (-(-height >> block), -(-width >> block)),
                )
            )
        last = channels(FINAL_SIDE)
        pixels = math.prod(last_map(height, width))
        self.minibatch_std = MinibatchStd(mbstd_group)
        self.conv = Conv(last + 1, last, kernel=3, padding=1)
        self.fc = Linear(last * pixels, last, lrelu=True)
        self.out = Linear(last, last if c_dim else 1)
        self.mapping = LabelMapping(c_dim, last) if c_dim else None

    def trainable_parameters(self, frozen_layers: int = 0) -> Iterator[nn.Parameter]:
        """Parameters behind the first ``frozen_layers`` layers (Freeze-D, Mo et al. 2020).

        Counted as in the original (Karras et al. 2020-ada): ``from_rgb``, then ``conv0``, ``conv1``
        and ``skip`` of each block. Raises ``ValueError`` if there are fewer.
        """
        blocks = cast(Iterable[DiscriminatorBlock], self.blocks)
        layers = [self.from_rgb, *(la for b in blocks for la in (b.conv0, b.conv1, b.skip))]
        if not 0 <= frozen_layers <= len(layers):
            raise ValueError(
                f"cannot freeze {frozen_layers} layers of a discriminator with {len(layers)} "
                "before its last feature map"
            )
        for module in (*layers[frozen_layers:], self.conv, self.fc, self.out):
            yield from module.parameters()
        if self.mapping is not None:
            yield from self.mapping.parameters()

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images to logits [N, 1]: large for real ones of their classes, int64 [N]."""
        x = self.from_rgb(images)
        for block in self.blocks[:REDUCED_OCTAVES]:
            x = block(x)
        with full_precision(images):
            x = x.to(self.out.weight.dtype)
            for block in self.blocks[REDUCED_OCTAVES:]:
                x = block(x)
            x = self.conv(self.minibatch_std(x))
            logits: Tensor = self.out(self.fc(x.flatten(1)))
            if self.mapping is not None:
                assert labels is not None
                projection = logits * self.mapping(labels)
                logits = projection.sum(1, keepdim=True) / projection.shape[1] ** 0.5
        return logits


def halvings(height: int, width: int) -> int:
    """How often an image is halved: the longer side becomes 4 to 7 pixels."""
    return max(height, width).bit_length() - FINAL_SIDE.bit_length()


def last_map(height: int, width: int) -> tuple[int, int]:
    """Size of the last feature map."""
    count = halvings(height, width)
    return -(-height >> count), -(-width >> count)
