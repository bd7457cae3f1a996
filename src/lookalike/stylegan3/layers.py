"""Building blocks that generator and discriminator share (Karras et al. 2018, 2020)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

LRELU_SLOPE = 0.2
LRELU_GAIN = 2**0.5
ACTIVATION_CLAMP = 256.0
EPSILON = 1e-8
REDUCED_OCTAVES = 4
"""Under autocast, layers of the last so many octaves of resolution compute in reduced precision:
they are nearly all of the work (Karras et al. 2020-ada, appendix D)."""


def rms_normalize(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Scale ``x`` to unit root mean square over ``dims``."""
    return x * (x.square().mean(dims, keepdim=True) + EPSILON).rsqrt()


def full_precision(x: Tensor) -> torch.autocast:
    """Context in which tensors keep their own precision, whatever autocast the caller runs.

    For what is cheap or sensitive: phases, styles, filters, layers at low resolution.
    """
    return torch.autocast(x.device.type, enabled=False)


def reduced_dtype(x: Tensor) -> torch.dtype:
    """The precision that the caller's autocast asks for, without one that of ``x``."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def scale_channels(x: Tensor, scale: Tensor) -> Tensor:
    """``x`` [N, C, H, W] times ``scale`` [N, C]; differentiable to any order."""
    y: Tensor = _ScaleChannels.apply(x, scale)  # type: ignore[no-untyped-call]
    return y


class _ScaleChannels(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return x * scale[:, :, None, None]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        return grad * scale[:, :, None, None], channel_products(grad, x)


def channel_products(x: Tensor, y: Tensor) -> Tensor:
    """Inner products [N, C] of the channels of two [N, C, H, W].

    A product of rows, where (x * y).sum((2, 3)) would write an image-sized tensor.
    """
    rows, columns = x.flatten(2).flatten(0, 1), y.flatten(2).flatten(0, 1)
    return torch.bmm(rows.unsqueeze(1), columns.unsqueeze(2)).view(x.shape[:2])


class Linear(nn.Module):
    """Fully connected layer with equalised learning rate (Karras et al. 2018, section 4.1).

    The weight is stored as N(0, 1) / ``lr_mul`` and scaled by lr_mul / sqrt(in_features) at run
    time; the bias is stored divided by ``lr_mul``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        lr_mul: float = 1.0,
        bias_init: float = 0.0,
        lrelu: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_mul))
        self.weight_gain = lr_mul / in_features**0.5
        self.bias_gain = lr_mul
        self.lrelu = lrelu

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        # The leaky ReLU commutes with positive factors, so its gain goes into the weights.
        gain = LRELU_GAIN if self.lrelu else 1.0
        x = nn.functional.linear(
            x, self.weight * (self.weight_gain * gain), self.bias * (self.bias_gain * gain)
        )
        return nn.functional.leaky_relu(x, LRELU_SLOPE) if self.lrelu else x


class LabelEmbedding(Linear):
    """Labels as vectors of unit root mean square, made by one linear layer of one-hot vectors."""

    def __init__(self, c_dim: int, width: int) -> None:
        super().__init__(c_dim, width)
        self.c_dim = c_dim

    def forward(self, labels: Tensor) -> Tensor:
        """Map labels int64 [N] to [N, width]."""
        one_hot = nn.functional.one_hot(labels, self.c_dim).to(self.weight.dtype)
        return rms_normalize(super().forward(one_hot), (1,))
