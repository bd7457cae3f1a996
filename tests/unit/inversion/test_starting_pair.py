"""The pair that ships, and the command that makes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.config import Config, GanConfig
from lookalike.data import population
from lookalike.data.loading import to_tensor
from lookalike.data.population import render_crops
from lookalike.errors import UserError
from lookalike.inversion.checkpoint import load_encoder, new_encoder
from lookalike.inversion.codes import CodeNetwork
from lookalike.inversion.joint import Joint, JointTraining, central_colours
from lookalike.inversion.pairs import Pairs
from lookalike.inversion.starting_pair import PATH, train_starting_pair
from lookalike.profiles import render
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.gan import build_gan
from lookalike.stylegan3.starting_generator import PATH as GENERATOR
from lookalike.stylegan3.starting_generator import train_starting_generator
from lookalike.training.checkpoint import ResumeState
from lookalike.training.curves import Curves
from lookalike.training.model_file import load_model
from lookalike.training.session import Session

UNSEEN = 77  # a seed of nobody else
CAMERAS = [1, 1, 2, 2, 3, 3, 4, 4]
CROPS = np.random.default_rng(0).integers(0, 255, (8, 64, 32, 3), dtype=np.uint8)
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


@pytest.fixture
def begun(small: GanConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GanConfig:
    """In a folder of its own, with a generator to start from and little to do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lookalike.inversion.starting_pair.SHEET", 4)
    monkeypatch.setattr("lookalike.inversion.folding.STEPS", 4)
    start = tmp_path / "start.safetensors"
    afresh = small.model_copy(update={"start": "none"})
    train_starting_generator(afresh, CROPS, CAMERAS, start, total_images=8, seed=1)
    return small.model_copy(update={"start": str(start), "checkpoint_images": 8})


def test_training_ends_with_both_files_and_leaves_nothing(begun: GanConfig, tmp_path: Path) -> None:
    train_starting_pair(begun, CROPS, PERSONS, CAMERAS, tmp_path, total_images=16, seed=1)
    generator = load_generator(tmp_path / "starting_generator.safetensors")
    encoder = load_encoder(tmp_path / "starting_encoder.safetensors", generator)
    assert (tmp_path / "starting_pair.png").is_file()
    ws = encoder.invert(to_tensor(CROPS))
    assert ws.isfinite().all() and (ws - encoder.w_avg).abs().max() > 0
    recipe = load_model(tmp_path / "starting_generator.safetensors", "stylegan3").recipe
    assert [leg["images"] for leg in recipe["legs"]] == [8, 16]
    assert not list((tmp_path / ".lookalike" / "resume").glob("*")), "resume state is left behind"


@pytest.mark.parametrize("checkpoints", [1, 3])  # in the middle, and after the last step
def test_a_killed_training_ends_with_the_same_pair(
    begun: GanConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: int
) -> None:
    class Killed(ResumeState):
        left = checkpoints

        def save(self, state: Mapping[str, Any]) -> None:
            super().save(state)
            Killed.left -= 1
            if Killed.left == 0:
                raise KeyboardInterrupt

    def train(folder: Path) -> dict[str, torch.Tensor]:
        train_starting_pair(begun, CROPS, PERSONS, CAMERAS, folder, total_images=24, seed=1)
        return load_model(folder / "starting_encoder.safetensors", "encoder").tensors | {
            f"generator.{name}": tensor
            for name, tensor in load_model(
                folder / "starting_generator.safetensors", "stylegan3"
            ).tensors.items()
        }

    expected = train(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lookalike.inversion.starting_pair.ResumeState", Killed)
        train(tmp_path / "killed")
    found = train(tmp_path / "killed")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_every_term_moves_what_it_should(begun: GanConfig) -> None:
    """Consistency and realism reach the generator; the encoder learns from reconstructions."""
    session = Session(1)
    gan = build_gan(begun, 1, Classes.of("camera", CAMERAS)[0])
    joint = Joint.of(gan, CodeNetwork(64, 32, 4, gan.generator.num_ws, begun.w_dim, 5))
    pairs = Pairs(CROPS, PERSONS, np.array(CAMERAS) - 1, 1, same=0.5)
    training = JointTraining(begun, joint, pairs, session=session, curves=Curves(session))
    before = {
        name: [p.clone() for p in module.parameters()]
        for name, module in (
            ("encoder", joint.network),
            ("mapping", gan.generator.mapping),
            ("synthesis", gan.generator.synthesis),
            ("critic", gan.discriminator),
        )
    }
    for step in range(2):  # heads are zero at first, and the backbone has no gradient
        training.step(training.read(8 * step), 8 * step)
    after = {
        "encoder": joint.network,
        "mapping": gan.generator.mapping,
        "synthesis": gan.generator.synthesis,
        "critic": gan.discriminator,
    }
    for name, module in after.items():
        same = [torch.equal(a, b) for a, b in zip(before[name], module.parameters(), strict=True)]
        assert not any(same), name
    values = training.curves.read().values()
    terms = {"l1", "colours", "perception", "realism", "consistency", "r1_penalty"}
    assert terms <= values.keys() and all(np.isfinite(value) for value in values.values())


def test_a_start_that_is_not_there_is_named(small: GanConfig, tmp_path: Path) -> None:
    config = small.model_copy(update={"start": "nowhere.safetensors"})
    images = np.zeros((8, 64, 32, 3), np.uint8)
    with pytest.raises(UserError, match="no checkpoint at nowhere"):
        train_starting_pair(config, images, PERSONS, CAMERAS, tmp_path, total_images=8, seed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["starting-pair", "--start", str(PATH)], "holds an encoder, not a StyleGAN3"),
        (
            ["starting-pair", "--start", str(GENERATOR), "--encoder", str(GENERATOR)],
            "holds a StyleGAN3, not an encoder",
        ),
        (["starting-generator", "--start", str(PATH)], "holds an encoder, not a StyleGAN3"),
    ],
)
def test_a_start_of_another_kind_is_named_before_anything_is_rendered(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(render(Config()))
    monkeypatch.setattr(population, "render_crops", lambda *_: pytest.fail("rendered"))
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


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
