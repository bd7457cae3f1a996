"""Which styles change who is seen, and which the pose or the light: measured, layer by layer.

A person gets one layer's styles from another person. A re-ID model says how far it is the same
person still, and the pixels say how much has changed: a good layer for a variation changes many
pixels and no person.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lookalike.config import Group
from lookalike.data.loading import Images, to_uint8
from lookalike.files import write_text
from lookalike.metrics.features import Embeds
from lookalike.progress import Progress, say
from lookalike.report.layers import draw_layers
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.latents import layer_group, ws_from_seeds

BATCH = 16
ALL = "all"


def seeds_and_others(
    generator: Generator, seeds: Sequence[int], psi: float, name: str = ""
) -> tuple[Tensor, Tensor]:
    """Styles of seeds, and of the persons that lend them theirs: the next seed's, and the first's.

    A conditional generator draws both in one class, as for a new person's images: `name`, or what
    the first of the two draws.

    Raises:
        UserError: no such class.
    """
    assert len(seeds) > 1, "styles come from another person"
    classes, psis = generator.classes, [psi] * len(seeds)
    names = [name or (classes.name_of_seed(seed) if classes else "") for seed in seeds]
    others = [*seeds[1:], seeds[0]]
    return (
        ws_from_seeds(generator, seeds, psis, names),
        ws_from_seeds(generator, others, psis, names),
    )


def measure_layers(
    generator: Generator, ws: Tensor, others: Tensor, embedder: Embeds
) -> pd.DataFrame:
    """What it does to take styles of another person.

    Args:
        generator: that draws.
        ws, others: styles of persons and of those that lend them theirs, [N, num_ws, w_dim].
        embedder: of the re-ID model that says who is seen.

    Returns:
        A row for each layer ("0" and on), each group and "all", which makes the other person:
        `styles`, `identity` (mean cosine to the person as it was) and `pixels` (mean absolute
        change, in grey levels of 255).
    """
    num_ws = ws.shape[1]
    parts = {str(layer): range(layer, layer + 1) for layer in range(num_ws)}
    parts |= {group: layer_group(group, num_ws) for group in get_args(Group)}
    parts[ALL] = range(num_ws)
    rows = []
    with Progress("layers", len(ws) * (len(parts) + 1)) as progress:
        before = _draw(generator, ws, progress)
        who = embedder.embed(before)
        for name, layers in parts.items():
            mixed = ws.clone()
            mixed[:, layers.start : layers.stop] = others[:, layers.start : layers.stop]
            after = _draw(generator, mixed, progress)
            change = np.abs(after.astype(np.int16) - before).mean()
            same = (embedder.embed(after) * who).sum(axis=1).mean()
            rows.append({"styles": name, "identity": float(same), "pixels": float(change)})
    return pd.DataFrame(rows)


def write_layers(effects: pd.DataFrame, folder: Path) -> None:
    """Write what was measured as `layers.csv`, and as a figure, `layers.png`."""
    write_text(folder / "layers.csv", effects.to_csv(index=False, float_format="%.4f"))
    draw_layers(effects, folder / "layers.png")
    say(f"{folder}: layers.csv and layers.png")


@torch.no_grad()
def _draw(generator: Generator, ws: Tensor, progress: Progress) -> Images:
    """Images uint8 [N, H, W, 3] of styles."""
    images = []
    for some in torch.split(ws, BATCH):
        images.append(to_uint8(generator.synthesis(some)))
        progress.advance(len(some))
    return np.concatenate(images)
