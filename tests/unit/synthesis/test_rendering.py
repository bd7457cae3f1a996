from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from lookalike.config import GenerateConfig, Group
from lookalike.inversion.encoder import Encoder
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis import rendering
from lookalike.synthesis.from_images import Inverter, latents_from_images, pixels_of, sources_of
from lookalike.synthesis.latents import layer_group
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import render, surroundings

BODY = (slice(8, 24), slice(5, 11))  # of a canvas of 32x16


def test_a_person_is_where_appearance_shows(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bright places as in dark ones, and whatever the structure is."""
    own = layer_group("appearance", generator.num_ws).start

    def draw(ws: Tensor) -> Tensor:
        images = ws[:, :own].mean(dim=(1, 2))[:, None, None, None] * torch.ones(1, 3, 32, 16)
        images[:, :, *BODY] = 0.05 * (1 + ws[:, own, :3, None, None].tanh())
        images[1:, :, *BODY] *= 8
        return images

    monkeypatch.setattr(generator.synthesis, "forward", draw)
    ws = torch.randn(3, generator.num_ws, generator.config.w_dim)
    ws[:, :own] *= 5
    outside = surroundings(generator, ws)
    assert outside.shape == (3, 1, 32, 16)
    assert not outside[:, :, *BODY].any()
    around = torch.ones(32, 16, dtype=torch.bool)
    around[7:25, 4:12] = False  # a pixel more
    assert (outside[:, 0, around] == 1).all()


@pytest.mark.parametrize("group", ["structure", "camera"])
def test_the_place_changes_around_the_person(
    group: Group,
    two_codes: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    monkeypatch: pytest.MonkeyPatch,
    to: rendering.Destination,
) -> None:
    canvas, crops = (pixels_of(sources, to.root, *size) for size in ((32, 16), (48, 24)))
    own, other = sources["image_id"].iloc[[0, 3]]
    recipes = (
        Recipe("cross", group, partner=other, detail=True, around=True),
        Recipe("cross", "appearance", partner=other, detail=True),
    )
    plans = [PlannedImage("x", "0002", recipe, -1, own) for recipe in recipes]

    def half(_: Generator, ws: Tensor) -> Tensor:
        outside = torch.ones(len(ws), 1, 32, 16)
        outside[..., :8] = 0
        return outside

    monkeypatch.setattr(rendering, "surroundings", half)
    drawn = render(
        plans,
        lambda plans: latents_from_images(Inverter(two_codes), plans, canvas),
        two_codes.generator,
        generate,
        sources_of(crops),
    )
    (real,) = crops([own]).astype(int)
    first, second = (np.asarray(Image.open(io.BytesIO(data))).astype(int) for data in drawn)
    left, right = np.s_[:, :8], np.s_[:, 16:]  # away from the border, where both mix
    assert np.abs(first - real)[left].mean() < 2
    assert np.abs(first - real)[right].mean() > 5
    assert np.abs(second - real)[left].mean() > 5, "in somebody's appearance the person changes"
