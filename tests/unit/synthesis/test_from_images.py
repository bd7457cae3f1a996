from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lookalike.artifacts import Artifacts
from lookalike.config import GenerateConfig
from lookalike.data.loading import to_tensor
from lookalike.errors import UserError
from lookalike.inversion.checkpoint import save_encoder
from lookalike.inversion.encoder import Encoder
from lookalike.inversion.fitting import save_latents
from lookalike.synthesis.from_images import Inverter, files_read, latents_from_images, pixels_of
from lookalike.synthesis.kind import Order
from lookalike.synthesis.latents import layer_group
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import Destination


def test_latents_are_what_recipes_say(
    encoder: Encoder, sources: pd.DataFrame, tmp_path: Path
) -> None:
    pixels = pixels_of(sources, tmp_path, 32, 16)
    names = list(sources["image_id"][:2])
    plans = [
        PlannedImage("x", "p", Recipe("base"), source_image=names[0]),
        PlannedImage("y", "p", Recipe("mix", "fine", psi=0.5, partner="4"), 4, names[0]),
        PlannedImage("z", "p", Recipe("interpolate", amount=0.4, partner=names[1]), -1, names[0]),
        PlannedImage("c", "p", Recipe("cross", "coarse", partner=names[1]), -1, names[0]),
    ]
    (base, mixed, between, crossed), inverted = latents_from_images(
        Inverter(encoder), plans, pixels
    )
    assert inverted is not None and torch.equal(inverted[1], inverted[0])
    first, second = encoder.invert(to_tensor(pixels(names)))
    fine = layer_group("fine", len(base))
    torch.testing.assert_close(base, first, rtol=0, atol=1e-4)
    torch.testing.assert_close(mixed[: fine.start], base[: fine.start])
    assert (mixed[fine.start :] - base[fine.start :]).abs().max() > 0.01
    torch.testing.assert_close(between, torch.lerp(first, second, 0.4), rtol=0, atol=1e-4)
    coarse = layer_group("coarse", len(base))
    torch.testing.assert_close(crossed[coarse.stop :], first[coarse.stop :], rtol=0, atol=1e-4)
    torch.testing.assert_close(crossed[: coarse.stop], second[: coarse.stop], rtol=0, atol=1e-4)


def test_fitted_latents_take_the_encoder_s_place(
    encoder: Encoder, sources: pd.DataFrame, tmp_path: Path
) -> None:
    names = list(sources["image_id"][:2])
    shape = (encoder.generator.num_ws, encoder.generator.config.w_dim)
    fitted = dict(zip(names, torch.rand(2, *shape), strict=True))
    plans = [
        PlannedImage("x", "p", Recipe("base"), source_image=names[0]),
        PlannedImage("z", "p", Recipe("interpolate", amount=1.0, partner=names[1]), -1, names[0]),
    ]
    pixels = pixels_of(sources, tmp_path, 32, 16)
    (base, between), inverted = latents_from_images(Inverter(encoder, fitted), plans, pixels)
    assert torch.equal(base, fitted[names[0]])
    torch.testing.assert_close(between, fitted[names[1]])
    assert inverted is not None and torch.equal(inverted, fitted[names[0]].expand(2, *shape))


def test_what_the_encoder_s_stage_wrote_is_what_inverts(
    encoder: Encoder, generate: GenerateConfig, to: Destination, tmp_path: Path
) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    order = Order(encoder.generator, generate, artifacts, to)
    made = artifacts.train_encoder
    save_encoder(made.encoder, encoder, {})
    with pytest.raises(UserError, match=r"no weights at .*latents.*dvc repro"):
        Inverter.load(order)

    images = np.full((1, 32, 16, 3), 90, np.uint8)
    save_latents(made.latents, encoder.generator, {})
    by_encoder = Inverter.load(order).latents(["a"], lambda names: images)
    assert torch.equal(by_encoder, encoder.invert(to_tensor(images)))

    known = torch.rand(encoder.generator.num_ws, encoder.generator.config.w_dim)
    save_latents(made.latents, encoder.generator, {"a": known})
    found = Inverter.load(order).latents(["a", "a"], lambda names: pytest.fail("not looked at"))
    assert torch.equal(found, torch.stack([known, known]))
    assert {made.encoder, made.latents} < set(files_read(artifacts))
