"""The generator that ships, and the command that makes one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lookalike.config import Config, GanConfig
from lookalike.errors import UserError
from lookalike.profiles import compose, names
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.gan import build_gan, sample_images
from lookalike.stylegan3.starting_generator import PATH, POPULATION_SEED, train_starting_generator
from lookalike.stylegan3.transfer import transfer
from lookalike.training.model_file import load_model

ROOT = Path(__file__).parents[3]
CAMERAS = [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.fixture
def embedded() -> GanConfig:
    return Config().gan


def test_the_shipped_one_fits_the_embedded_profile_whole(embedded: GanConfig) -> None:
    classes, _ = Classes.of("camera", range(1, 7))
    gan = build_gan(embedded, 1, classes)
    report = transfer(PATH, gan.generator, gan.discriminator, gan.projected)
    assert report.names("adapted") == report.names("new") == []
    assert PATH.stat().st_size < 4e6


def test_the_shipped_one_draws_pictures_that_differ_and_are_no_noise() -> None:
    images = sample_images(load_generator(PATH), 8, seed=0).astype(float)
    assert images.std(axis=0).mean() > 15
    # Neighbouring pixels are alike, as in any picture: their correlation is far from noise's zero.
    left, right = images[:, :, 1:].ravel(), images[:, :, :-1].ravel()
    assert np.corrcoef(left, right)[0, 1] > 0.8


def test_the_shipped_one_says_what_it_has_seen_and_nobody_else_sees_its_persons() -> None:
    provenance = load_model(PATH, "stylegan3").recipe
    assert provenance["images_seen"] == sum(leg["images"] for leg in provenance["legs"])
    assert provenance["population_seed"] == POPULATION_SEED
    for profile in names(ROOT / "profiles"):
        rendered = compose(profile, ROOT / "profiles").data.rendered
        assert rendered is None or rendered.seed != POPULATION_SEED


def test_training_goes_on_from_a_file_and_adds_up(
    embedded: GanConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = embedded.model_copy(
        update={"channel_base": 128, "channel_max": 8, "batch_size": 4, "micro_batch": 4}
        | {"discriminator_channel_base": 128, "discriminator_channel_max": 8, "start": "none"}
    )
    images = np.random.default_rng(0).integers(0, 255, (8, 64, 32, 3), dtype=np.uint8)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    train_starting_generator(small, images, CAMERAS, first, total_images=4, seed=1)
    assert first.with_suffix(".png").is_file()
    onwards = small.model_copy(update={"start": str(first)})
    train_starting_generator(onwards, images, CAMERAS, second, total_images=8, seed=2)
    provenance = load_model(second, "stylegan3").recipe
    assert provenance["images_seen"] == 12
    assert [leg["seed"] for leg in provenance["legs"]] == [1, 2]
    moved = [
        float((a - b).abs().max())
        for a, b in zip(
            load_generator(first).parameters(), load_generator(second).parameters(), strict=True
        )
    ]
    assert 0 < max(moved) < 1 and all(math.isfinite(m) for m in moved)
    assert not list((tmp_path / ".lookalike" / "resume").glob("*")), "resume state is left behind"


def test_a_start_that_is_not_there_is_named(embedded: GanConfig, tmp_path: Path) -> None:
    config = embedded.model_copy(update={"start": "nowhere.safetensors"})
    images = np.zeros((8, 64, 32, 3), np.uint8)
    with pytest.raises(UserError, match="no weights at nowhere"):
        train_starting_generator(config, images, CAMERAS, tmp_path / "x", total_images=8, seed=1)
