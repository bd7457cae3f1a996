"""Bringing codes that are free in each style back to one w per code, so that seeds can take part.

An encoder with a head per style leaves W: its codes lie in W+, where no seed leads (Tov et al.
2021, "Designing an Encoder for StyleGAN Image Manipulation"). But they vary in few directions.
Within each group, structure and appearance, the principal components of all styles together become
a new W: the generator's affine layers take over the way from there to each style, and the heads the
way there. What is drawn stays the same, up to the components left out. Components are whitened, so
that both groups are distributed alike to second order, and one mapping serves both: it is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lookalike.data.loading import Images, to_tensor
from lookalike.inversion.codes import CodeNetwork, grey
from lookalike.progress import Progress, say
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.layers import Linear

BATCH = 256
STEPS, RATE = 1500, 0.1  # of fitting the mapping, which learns at a hundredth of the rate
PROJECTIONS = 256  # of the sliced Wasserstein distance
FLOOR = 1e-3  # of a component's standard deviation, as a share of the first one's


def bring_to_w(
    generator: Generator, network: CodeNetwork, images: Images, labels: NDArray[np.int64]
) -> None:
    """Change both networks in place; says what was lost and how near the mapping comes.

    Args:
        generator, network: on one device; what both draw of an image stays nearly the same.
        images: uint8 [N, H, W, 3], to read codes of; thousands.
        labels: int64 [N], their classes.
    """
    structures, appearances = read_codes(network, images)
    kept = fold(generator, network, (structures, appearances))
    structures, appearances = read_codes(network, images)
    of = torch.from_numpy(labels).to(structures.device)
    distance = fit_mapping(
        generator, (structures[:, 0], appearances[:, 0]), of, steps=STEPS, rate=RATE
    )
    with torch.no_grad():
        network.head_bias.sub_(generator.mapping.w_avg)  # codes are counted from there
    say(
        f"{kept[0]:.1%} of the structure's and {kept[1]:.1%} of the appearance's variance is in W; "
        f"the mapping is {distance:.3f} away"
    )


@torch.no_grad()
def read_codes(network: CodeNetwork, images: Images) -> tuple[Tensor, Tensor]:
    """Structures [N, S, w_dim] and appearances [N, num_ws - S, w_dim] of uint8 images."""
    device = network.head_bias.device
    structures, appearances = [], []
    with Progress("read codes", len(images)) as progress:
        for start in range(0, len(images), BATCH):
            batch = to_tensor(images[start : start + BATCH], device)
            structures.append(network.structure(grey(batch)))
            appearances.append(network.appearance(batch))
            progress.advance(len(batch))
    return torch.cat(structures), torch.cat(appearances)


@torch.no_grad()
def fold(
    generator: Generator, network: CodeNetwork, codes: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Change both networks in place, so that every style of a group has the same w.

    Args:
        generator: on the network's device.
        network: of its canvas.
        codes: of many images, as of `read_codes`.

    Returns:
        The share of the variance that each group keeps.
    """
    w_dim, w_avg = generator.config.w_dim, generator.mapping.w_avg.clone()
    affines = list(_affines(generator))
    first, kept = 0, []
    for group in codes:
        count = group.shape[1]
        flat = group.flatten(1).double()
        mean = flat.mean(0)
        _, scales, directions = torch.linalg.svd(flat - mean, full_matrices=False)
        scales = scales / (len(flat) - 1) ** 0.5
        kept.append(float(scales[:w_dim].square().sum() / scales.square().sum()))
        # Of fewer images than w_dim there are fewer directions; the others stay empty.
        axes = F.pad(directions[:w_dim], (0, 0, 0, max(0, w_dim - len(directions))))
        sizes = F.pad(scales[:w_dim], (0, max(0, w_dim - len(scales))))
        sizes = sizes.clamp(min=float(scales[0]) * FLOOR)[:, None]
        there, back = (axes / sizes).float(), (axes * sizes).float()  # [w_dim, count * w_dim]
        heads = slice(first, first + count)
        weight = network.head_weight[heads].permute(1, 0, 2).flatten(1)
        bias = network.head_bias[heads].flatten() - mean.float()
        network.head_weight[heads] = weight @ there.T
        network.head_bias[heads] = bias @ there.T
        ways, centres = back.view(w_dim, count, w_dim), mean.float().view(count, w_dim)
        for number, affine in enumerate(affines[heads]):
            # w -> w_avg + centre + w @ way is what the layer used to be given.
            affine.bias.add_(affine.weight_gain * affine.weight @ (w_avg + centres[number]))
            affine.weight.copy_(affine.weight @ ways[:, number].T)
        first += count
    generator.mapping.w_avg.zero_()
    return kept[0], kept[1]


def _affines(generator: Generator) -> Iterator[Linear]:
    """What reads each style."""
    yield generator.synthesis.input.affine
    for layer in generator.synthesis.layers:
        affine = layer.affine
        assert isinstance(affine, Linear)
        yield affine


def fit_mapping(
    generator: Generator, codes: tuple[Tensor, Tensor], labels: Tensor, *, steps: int, rate: float
) -> float:
    """Train the mapping until its styles are distributed as codes are.

    Args:
        generator: conditional or not; its mapping is changed, and its mean of w.
        codes: of one w each, structures and appearances [N, w_dim].
        labels: int64 [N], the structures' classes.
        steps, rate: of Adam.

    Returns:
        The last distance; draw seeds before.
    """
    mapping = generator.mapping.requires_grad_(True)
    optimizer = torch.optim.Adam(mapping.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    device = codes[0].device
    count, distance = len(labels), torch.zeros([])
    with Progress("fit mapping", steps) as progress:
        for _ in range(steps):
            some, others = torch.randint(count, (2, BATCH), device=device)
            z = torch.randn(BATCH, generator.config.z_dim, device=device)
            of = labels[some] if generator.classes is not None else None
            w = mapping(z, labels=of)[:, 0]
            distance = sliced_distance(w, codes[0][some], labels[some]) + sliced_distance(
                w, codes[1][others], None
            )
            optimizer.zero_grad()
            distance.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            progress.advance(1)
    mapping.requires_grad_(False)
    with torch.no_grad():
        z = torch.randn(count, generator.config.z_dim, device=device)
        of = labels if generator.classes is not None else None
        mapping.w_avg.copy_(mapping(z, labels=of)[:, 0].mean(0))
    return float(distance.detach())


def sliced_distance(a: Tensor, b: Tensor, labels: Tensor | None) -> Tensor:
    """Sliced Wasserstein distance of two sets [N, D] (Kolouri et al. 2019).

    Mean squared difference of sorted projections on PROJECTIONS random directions. With labels it
    is that of pairs (vector, label): a label moves each projection by a random number of its own,
    so that sets agree only if they do for each label.
    """
    directions = F.normalize(torch.randn(a.shape[1], PROJECTIONS, device=a.device), dim=0)
    of_a, of_b = a @ directions, b @ directions
    if labels is not None:
        shifts = 3 * torch.randn(int(labels.max()) + 1, PROJECTIONS, device=a.device)[labels]
        of_a, of_b = of_a + shifts, of_b + shifts
    return (of_a.sort(0).values - of_b.sort(0).values).square().mean()
