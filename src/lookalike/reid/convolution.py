"""Convolution of maps that are smaller than its weights, on a CPU.

oneDNN copies a layer's weights into a layout of its own, at each call, forwards and twice
backwards. In ResNet50's deeper layers on small crops that costs more than the arithmetic, and
strided 1x1 layers get a slow kernel on top. One matrix product reads the weights where they lie,
and is as exact.
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallMapConv2d(nn.Conv2d):
    """A square convolution without bias, dilation and groups; its parameters are `nn.Conv2d`'s."""

    @classmethod
    def of(cls, other: nn.Conv2d) -> Self:
        """The same layer, with the very same weights.

        Raises:
            ValueError: it is none of those that this class computes.
        """
        own = cls(
            other.in_channels,
            other.out_channels,
            other.kernel_size[0],
            other.stride[0],
            other.padding[0],
            bias=False,
            device="meta",
        )
        if repr(other) != repr(own).replace(cls.__name__, nn.Conv2d.__name__):
            raise ValueError(f"no square convolution without bias: {other}")
        own.weight = other.weight
        return own

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [N, C, H, W]; where that is quicker, as a product.

        Never while being traced: a trace would keep the choice that was made for its example.
        """
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return super().forward(x)
        small = x.device.type == "cpu" and x.numel() < self.weight.numel()
        return self._product(x) if small else super().forward(x)

    def _product(self, x: Tensor) -> Tensor:
        k, s, p = self.kernel_size[0], self.stride[0], int(self.padding[0])
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, p, p, p, p))
        n, height, width = x.shape[0], (x.shape[1] - k) // s + 1, (x.shape[2] - k) // s + 1
        rows, columns = s * (height - 1) + 1, s * (width - 1) + 1
        shifted = [x[:, i : i + rows : s, j : j + columns : s] for i in range(k) for j in range(k)]
        patches = torch.cat(shifted, dim=3) if k > 1 else shifted[0]
        # In channels_last the weights lie as [out, k, k, in]: no copy.
        weight = self.weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1)
        y = F.linear(patches.reshape(n * height * width, -1), weight)
        return y.view(n, height, width, -1).permute(0, 3, 1, 2)


def use_products(network: nn.Module) -> None:
    """Make every convolution of a network a `SmallMapConv2d`, in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d:
                setattr(module, name, SmallMapConv2d.of(child))
