"""The pair that ships, and the command that makes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lookalike.config import Config, GanConfig
from lookalike.data.loading import to_tensor
from lookalike.data.population import render_crops
from lookalike.errors import UserError
from lookalike.inversion.checkpoint import load_encoder, new_encoder
from lookalike.inversion.joint import central_colours
from lookalike.inversion.starting import PATH, train_starting_pair
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.stylegan3.starting import PATH as GENERATOR
from lookalike.stylegan3.starting import train_starting_generator
from lookalike.training.model_file import load_model

UNSEEN = 77  # a seed of nobody else
CAMERAS = [1, 1, 2, 2, 3, 3, 4, 4]
PERSONS = [1, 1, 1, 1, 2, 2, 2, 2]


@pytest.fixture
def small() -> GanConfig:
    return Config().gan.model_copy(
        update={"channel_base": 128, "channel_max": 8, "batch_size": 8, "micro_batch": 8}
        | {"discriminator_channel_base": 128, "discriminator_channel_max": 8}
    )


def test_the_shipped_one_is_of_the_shipped_generator_and_the_embedded_profiles() -> None:
    generator = load_generator(GENERATOR)
    load_encoder(PATH, generator)
    new_encoder(Config().encoder, generator, start=PATH)
    assert PATH.stat().st_size < 4e6


def test_the_shipped_one_keeps_clothes_through_cameras() -> None:
    """New persons in the structure of others: colours are the appearance's, not the structure's."""
    encoder = load_encoder(PATH, load_generator(GENERATOR))
    x = to_tensor(render_crops(UNSEEN, 12, 4, 64, 32, workers=1, progress=False))[::4]
    ws, layers = encoder.invert(x), encoder.structure_styles
    of_sources = clothes(x)
    kept = []
    for structure in ws[:, :layers]:
        shared = structure.expand(len(x), -1, -1)
        crossed = encoder.generator.synthesis(torch.cat([shared, ws[:, layers:]], dim=1))
        pair = torch.stack([clothes(crossed).flatten(), of_sources.flatten()])
        kept.append(float(torch.corrcoef(pair)[0, 1]))
    assert np.mean(kept) > 0.6


def clothes(images: torch.Tensor) -> torch.Tensor:
    """Colours [N, 3] where shirts are, each channel less its mean over the images."""
    means = images[:, :, 18:34, 12:20].mean((2, 3))
    return means - means.mean(0)


def test_training_ends_with_both_files_and_leaves_nothing(
    small: GanConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (8, 64, 32, 3), dtype=np.uint8)
    start = tmp_path / "start.safetensors"
    begun = small.model_copy(update={"start": "none"})
    train_starting_generator(begun, images, CAMERAS, start, total_images=8, seed=1)
    config = small.model_copy(update={"start": str(start)})
    monkeypatch.setattr("lookalike.inversion.starting.SHEET", 4)
    monkeypatch.setattr("lookalike.inversion.folding.STEPS", 4)
    train_starting_pair(config, images, PERSONS, CAMERAS, tmp_path, total_images=16, seed=1)
    generator = load_generator(tmp_path / "starting_generator.safetensors")
    encoder = load_encoder(tmp_path / "starting_encoder.safetensors", generator)
    assert (tmp_path / "starting_pair.png").is_file()
    ws = encoder.invert(to_tensor(images))
    assert ws.isfinite().all() and (ws - encoder.w_avg).abs().max() > 0
    recipe = load_model(tmp_path / "starting_generator.safetensors", "stylegan3").recipe
    assert [leg["images"] for leg in recipe["legs"]] == [8, 16]
    assert not list((tmp_path / ".lookalike" / "resume").glob("*")), "resume state is left behind"


def test_a_start_that_is_not_there_is_named(small: GanConfig, tmp_path: Path) -> None:
    config = small.model_copy(update={"start": "nowhere.safetensors"})
    images = np.zeros((8, 64, 32, 3), np.uint8)
    with pytest.raises(UserError, match="no checkpoint at nowhere"):
        train_starting_pair(config, images, PERSONS, CAMERAS, tmp_path, total_images=8, seed=1)


def test_colours_are_compared_where_the_person_is() -> None:
    x = torch.zeros(1, 3, 64, 32)
    edges, middle = x.clone(), x.clone()
    edges[..., :8] = 1
    middle[..., 8:24] = 1
    assert central_colours(x, edges).item() == 0
    assert central_colours(x, middle).item() == 1
    # Of cells, not of pixels: a fine pattern of the same mean is the same colour.
    stripes = torch.tensor([-1.0, 1.0]).repeat(32)[:, None].expand_as(x)
    assert central_colours(x, stripes).item() == pytest.approx(0, abs=1e-6)
