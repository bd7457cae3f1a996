"""Adaptive discriminator augmentation (Karras et al. 2020, Training GANs with Limited Data).

The discriminator sees real and generated images through random transforms, each applied with
probability p, so that it cannot learn a small data set by heart. As long as p is well below 1 the
generator still learns the images as they are. p follows how sure the discriminator is of the reals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lookalike.config import AdaConfig, Transform
from lookalike.stylegan3.layers import full_precision
from lookalike.stylegan3.warp import Warp

Strengths = dict[Transform, Tensor]
Draw = Callable[[int, int, torch.device], Tensor]

SHIFT = 0.125  # of the image's sides
ADJUST_EVERY = 4  # steps between two changes of p


def _normal(deviation: float) -> Draw:
    return lambda count, width, device: torch.randn(count, width, device=device) * deviation


def _uniform(limit: float) -> Draw:
    return lambda count, width, device: (2 * torch.rand(count, width, device=device) - 1) * limit


def _choice(options: int) -> Draw:
    return lambda count, width, device: torch.randint(
        options, (count, width), device=device
    ).float()


# How strong a transform is, drawn as so many numbers; 0 changes nothing. Appendix B there.
DRAWS: dict[Transform, tuple[int, Draw]] = {
    "x-flip": (1, _choice(2)),
    "quarter-turn": (1, _choice(4)),  # counter-clockwise
    "integer-shift": (2, _uniform(SHIFT)),  # of width and height, rounded to pixels
    "scale": (1, _normal(0.2)),  # log2 of the factor
    "rotation": (2, _uniform(math.pi)),  # radians, before and after the anisotropic scale
    "anisotropic-scale": (1, _normal(0.2)),  # log2 of the factor of x; of 1 / that of y
    "fractional-shift": (2, _normal(SHIFT)),  # of width and height
    "brightness": (1, _normal(0.2)),  # added to values of -1 to 1
    "contrast": (1, _normal(0.5)),  # log2 of the factor
    "luma-flip": (1, _choice(2)),
    "hue": (1, _uniform(math.pi)),  # radians
    "saturation": (1, _normal(1.0)),  # log2 of the factor
}
COLOURS = {"brightness", "contrast", "luma-flip", "hue", "saturation"}
WARPS = DRAWS.keys() - COLOURS - {"x-flip"}


class Augment(nn.Module):
    """The "bgc" pipeline: pixel blitting, geometry, colour.

    Args:
        height, width: of the images, in pixels; any.
        transforms: those in use.
    """

    def __init__(self, height: int, width: int, transforms: Iterable[Transform]):
        super().__init__()
        self.height, self.width = height, width
        self.transforms = [name for name in DRAWS if name in set(transforms)]
        self.warp = Warp(height, width, SHIFT if "integer-shift" in self.transforms else 0.0)

    def draw(self, count: int, p: float, device: torch.device) -> Strengths:
        """Strengths [count, 1 or 2] of the transforms, 0 where an image goes without.

        The random numbers are torch's, on the device.
        """
        strengths: Strengths = {}
        for name in self.transforms:
            width, sample = DRAWS[name]
            # The two rotations together happen with probability p; shifts have one in x and y.
            chance = 1 - math.sqrt(1 - p) if name == "rotation" else p
            tosses = torch.rand(count, width if name == "rotation" else 1, device=device)
            strengths[name] = sample(count, width, device) * (tosses < chance)
        return strengths

    def forward(self, images: Tensor, strengths: Strengths) -> Tensor:
        """Transform images [N, 3, height, width] of -1 to 1, as `draw` says.

        Differentiable to any order; in full precision, whatever autocast the caller runs.
        """
        with full_precision(images):
            return self._transformed(images, strengths)

    def _transformed(self, images: Tensor, strengths: Strengths) -> Tensor:
        if "x-flip" in strengths:
            # Outside the warp, whose filter is not quite symmetric: this one is exact.
            flipped = strengths["x-flip"].view(-1, 1, 1, 1) > 0
            images = torch.where(flipped, images.flip(3), images)
        if strengths.keys() & WARPS:
            images = self.warp(images, inverse_geometry(strengths, self.height, self.width))
        if strengths.keys() & COLOURS:
            linear, offset = colour_matrix(strengths)
            pixels = torch.baddbmm(offset, linear, images.to(linear.dtype).flatten(2))
            images = pixels.view_as(images)
        return images


def inverse_geometry(strengths: Strengths, height: int, width: int) -> Tensor:
    """Matrices [N, 3, 3] from output to input positions, (x, y, 1) in pixels from the centre."""
    some = next(iter(strengths.values()))
    none = some.new_zeros(len(some), 2)

    def strength(name: Transform) -> tuple[Tensor, ...]:
        return strengths.get(name, none).unbind(1)

    turns, scale, squeeze = (
        strength(name)[0] for name in ("quarter-turn", "scale", "anisotropic-scale")
    )
    (whole_x, whole_y), (x, y) = strength("integer-shift"), strength("fractional-shift")
    before, after = strength("rotation")
    inverses = [
        _rotation(turns * (math.pi / 2)),
        _translation(-(whole_x * width).round(), -(whole_y * height).round()),
        _scaling(torch.exp2(-scale), torch.exp2(-scale)),
        _rotation(before),
        _scaling(torch.exp2(-squeeze), torch.exp2(squeeze)),
        _rotation(after),
        _translation(-x * width, -y * height),
    ]
    total = inverses[0]
    for inverse in inverses[1:]:
        total = total @ inverse
    return total


def _rotation(angle: Tensor) -> Tensor:
    sin, cos, zero = angle.sin(), angle.cos(), torch.zeros_like(angle)
    return _rows([cos, -sin, zero], [sin, cos, zero])


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero = torch.zeros_like(x)
    return _rows([x, zero, zero], [zero, y, zero])


def _translation(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _rows([one, zero, x], [zero, one, y])


def _rows(first: list[Tensor], second: list[Tensor]) -> Tensor:
    zero, one = torch.zeros_like(first[0]), torch.ones_like(first[0])
    return torch.stack([*first, *second, zero, zero, one], dim=1).view(-1, 3, 3)


def colour_matrix(strengths: Strengths) -> tuple[Tensor, Tensor]:
    """Linear part [N, 3, 3] and offset [N, 3, 1] for pixels of -1 to 1.

    Luma is the grey axis v = (1, 1, 1) / sqrt 3: contrast scales everything, the luma flip mirrors
    along v, the hue rotates about v, saturation scales what is perpendicular to it.
    """
    some = next(iter(strengths.values()))
    none = some.new_zeros(len(some), 1)

    def strength(name: Transform) -> Tensor:
        return strengths.get(name, none).unsqueeze(2)

    identity = torch.eye(3, device=some.device, dtype=some.dtype)
    grey = torch.full_like(identity, 1 / 3)  # v v^T
    cross = (identity.roll(1, 0) - identity.roll(-1, 0)) / math.sqrt(3)  # x -> v x x
    hue, saturation = strength("hue"), torch.exp2(strength("saturation"))
    linear = torch.exp2(strength("contrast")) * identity
    linear = (identity - 2 * strength("luma-flip") * grey) @ linear
    linear = (hue.cos() * (identity - grey) + hue.sin() * cross + grey) @ linear
    linear = (grey + saturation * (identity - grey)) @ linear
    return linear, linear @ strength("brightness").expand(-1, 3, 1)


class Adaptation:
    """Moves p so that the mean sign of the reals' logits stays at a target (section 3.1 there).

    A discriminator that overfits is sure of the reals: the mean approaches 1.

    Attributes:
        p: the probability in use, within [0, max_p].
        sign: the mean that last moved p; None before the first time.
    """

    def __init__(self, config: AdaConfig, batch_size: int):
        self.config, self.batch_size = config, batch_size
        self.p: float = config.initial_p
        self.sign: float | None = None
        self.steps, self.total = 0, torch.zeros([])

    def observe(self, sign: Tensor) -> None:
        """Count in one step's mean sign, over all processes; every 4th step moves p."""
        self.total, self.steps = self.total.to(sign.device) + sign, self.steps + 1
        if self.steps < ADJUST_EVERY:
            return
        self.sign = float(self.total) / self.steps
        if self.config.target is not None:
            direction = (self.sign > self.config.target) - (self.sign < self.config.target)
            p = self.p + direction * self.steps * self.batch_size / self.config.images
            self.p = min(max(p, 0.0), self.config.max_p)
        self.total, self.steps = torch.zeros_like(self.total), 0

    def metrics(self) -> dict[str, float]:
        """Points for the curves."""
        sign = {} if self.sign is None else {"ada_sign": self.sign}
        return {"ada_p": self.p, **sign}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"p": self.p, "sign": self.sign, "steps": self.steps, "total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.p, self.sign = state["p"], state["sign"]
        self.steps, self.total = state["steps"], state["total"]
