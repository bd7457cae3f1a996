"""Latents from seeds, and what can be done with them: style mixing and interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lookalike.config import Group
from lookalike.errors import UserError
from lookalike.stylegan3.generator import Generator

# The study's groups over 16 styles: coarse 0-4, medium 5-11, fine 12-15. Their first layers, as
# shares of all layers, carry over to generators of another depth. `structure` is the half that the
# starting generator draws pose, place and camera with, `camera` the part of it that leaves the pose
# nearly as it is, and `appearance` the other half (docs/latents.md).
BOUNDARIES = {
    "coarse": (0, 5),
    "medium": (5, 12),
    "fine": (12, 16),
    "structure": (0, 8),
    "camera": (5, 8),
    "appearance": (8, 16),
}


def z_from_seed(seed: int, z_dim: int) -> Tensor:
    """Standard-normal latent float32 [z_dim] of a seed >= 0, the same on every machine (PCG64)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return torch.from_numpy(generator.standard_normal(z_dim).astype(np.float32))


def labels_of(
    generator: Generator, seeds: Sequence[int], names: Sequence[str]
) -> torch.Tensor | None:
    """Labels int64 [N] of classes; for the name "" the one that the seed draws.

    None for an unconditional generator.

    Raises:
        UserError: a class that the generator does not know, or any if it is unconditional.
    """
    classes = generator.classes
    if classes is None:
        if any(names):
            raise UserError(f"no class {next(filter(None, names))!r}: the generator has no classes")
        return None
    return torch.tensor(
        [
            classes.label(name or classes.name_of_seed(seed))
            for seed, name in zip(seeds, names, strict=True)
        ]
    )


@torch.no_grad()
def ws_from_seeds(
    generator: Generator,
    seeds: Sequence[int],
    psis: Sequence[float],
    names: Sequence[str] | None = None,
) -> Tensor:
    """Styles [N, num_ws, w_dim] of seeds, each truncated by its own psi towards w_avg.

    `names` are the classes that a conditional generator is to draw; see `labels_of`.
    """
    labels = labels_of(generator, seeds, [""] * len(seeds) if names is None else names)
    z = torch.stack([z_from_seed(seed, generator.config.z_dim) for seed in seeds])
    w_avg = generator.mapping.w_avg
    labels = None if labels is None else labels.to(w_avg.device)
    ws = generator.mapping(z.to(w_avg.device), labels=labels)
    return torch.lerp(w_avg.expand_as(ws), ws, torch.tensor(psis, device=ws.device)[:, None, None])


def layer_group(group: Group, num_ws: int) -> range:
    """The styles that belong to a group, at least one.

    Coarse, medium and fine cover all without overlap, and so do structure and appearance.

    In the study coarse styles change structure, medium ones the pose, fine ones the tone.

    Raises:
        ValueError: there are fewer than three styles.
    """
    if num_ws < 3:
        raise ValueError(f"{num_ws} styles cannot be split into coarse, medium and fine")
    start, stop = (round(num_ws * bound / 16) for bound in BOUNDARIES[group])
    return range(min(start, stop - 1), stop)


def style_mix(ws_a: Tensor, ws_b: Tensor, group: Group) -> Tensor:
    """`ws_a` with the group's styles taken from `ws_b`; both [..., num_ws, w_dim]."""
    layers = layer_group(group, ws_a.shape[-2])
    mixed = ws_a.clone()
    mixed[..., layers.start : layers.stop, :] = ws_b[..., layers.start : layers.stop, :]
    return mixed


def interpolate(ws_a: Tensor, ws_b: Tensor, t: float) -> Tensor:
    """The point at `t` on the line from `ws_a` (t = 0) to `ws_b` (t = 1)."""
    return torch.lerp(ws_a, ws_b, t)
