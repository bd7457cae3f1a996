"""Networks on disk, and what transfer learning takes over."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lookalike.errors import UserError
from lookalike.stylegan3.checkpoint import (
    DiscriminatorConfig,
    export_generator,
    load_generator,
    save_gan,
    transfer,
)
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.training.model_file import load_model, save_model

TINY = GeneratorConfig(
    16, 8, z_dim=8, w_dim=8, channel_base=64, channel_max=8, num_layers=4, margin=2
)


def networks(
    seed: int, config: GeneratorConfig = TINY, channels: int = 8
) -> tuple[Generator, Discriminator]:
    torch.manual_seed(seed)
    discriminator = Discriminator(
        config.height, config.width, channel_base=64, channel_max=channels
    )
    return Generator(config), discriminator


def save(path: Path, dtype: torch.dtype = torch.float32) -> tuple[Generator, Discriminator]:
    generator, discriminator = networks(0)
    save_gan(path, generator, discriminator, DiscriminatorConfig(64, 8), {"seed": 0}, dtype)
    return generator, discriminator


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gan.safetensors"


def test_round_trip(path: Path) -> None:
    generator, _ = save(path)
    loaded = load_generator(path)
    assert loaded.config == TINY
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    z = torch.randn(2, 8)
    with torch.no_grad():
        assert torch.equal(loaded(z), generator.eval()(z))
    saved = load_model(path, "stylegan3")
    assert saved.recipe == {"seed": 0}
    assert saved.architecture["discriminator"] == {"channel_base": 64, "channel_max": 8}


def test_half_precision_on_disk(path: Path, tmp_path: Path) -> None:
    generator, _ = save(path, torch.float16)
    save(tmp_path / "full.safetensors")
    tensors = load_model(path, "stylegan3").tensors
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert path.stat().st_size < (tmp_path / "full.safetensors").stat().st_size
    loaded = load_generator(path).state_dict()
    for name, tensor in generator.state_dict().items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], tensor, rtol=2**-11, atol=2**-24)


def test_transfer_between_equal_networks(path: Path) -> None:
    generator, discriminator = save(path)
    targets = networks(1)
    report = transfer(path, *targets)
    assert report.names("new") == report.names("adapted") == []
    for source, target in zip((generator, discriminator), targets, strict=True):
        state = target.state_dict()
        assert all(torch.equal(state[n], t) for n, t in source.state_dict().items())
    assert str(report) == f"{len(report.tensors)} tensors transferred"
    assert report.licence == ""


def test_square_to_rectangle(path: Path) -> None:
    square = replace(TINY, height=32, width=32, margin=8)
    generator, discriminator = networks(0, square)
    provenance = {"licence": "not commercial"}
    save_gan(path, generator, discriminator, DiscriminatorConfig(64, 8), provenance)
    tall, judge = networks(1, replace(square, width=16))
    report = transfer(path, tall, judge)
    assert report.names("new") == []
    assert report.names("adapted") == ["discriminator.fc.weight"]
    assert report.licence == "not commercial"
    assert str(report).endswith("; 1 adapted: discriminator.fc.weight")

    z = torch.randn(2, 8)
    with torch.no_grad():
        expected, images = generator(z)[..., 8:24], tall(z)
    difference = (images - expected).abs().amax((0, 1, 2)) / expected.std()
    assert difference[6:10].max() < 1e-5, "the centre crop, apart from borders"

    # A feature that is the same in both halves of a merged pair gives the same answer as before.
    features = torch.randn(3, 8, 4, 2)
    wide = features.repeat_interleave(2, dim=3).flatten(1)
    with torch.no_grad():
        torch.testing.assert_close(judge.fc(features.flatten(1)), discriminator.fc(wide))


def test_the_last_map_counts_and_not_the_number_of_columns(path: Path) -> None:
    """Lying rectangles have as many columns as standing ones, in another order."""
    save(path)
    lying = replace(TINY, height=8, width=16)
    assert transfer(path, *networks(1, lying)).names("adapted") == ["discriminator.fc.weight"]


def test_another_resolution_and_number_of_layers(path: Path) -> None:
    generator, discriminator = save(path)
    larger = replace(TINY, height=64, width=32, num_layers=6)
    target, judge = networks(1, larger)
    before = {f"generator.{n}": t.clone() for n, t in target.state_dict().items()}
    report = transfer(path, target, judge)
    table = {tensor.name: tensor for tensor in report.tensors if tensor.outcome != "left"}
    assert list(table) == [
        *(f"generator.{n}" for n in target.state_dict()),
        *(f"discriminator.{n}" for n in judge.state_dict()),
    ]
    # ToRGB is the last layer in both; layers 4 and 5 exist in the new generator only.
    rgb = table["generator.synthesis.layers.6.affine.weight"]
    assert rgb.outcome == "new"
    assert rgb.reason == "[4, 8] in the source, [1, 8] here"
    for name in (n for n in table if n.startswith("generator.synthesis.layers.5.")):
        assert (table[name].outcome, table[name].reason) == ("new", "the source has no such layer")
        assert torch.equal(target.state_dict()[name.removeprefix("generator.")], before[name])
    # Blocks end at 4x4: the last of the new ones is the last of the old ones.
    last = table["discriminator.blocks.3.conv0.weight"]
    assert last.reason == "from discriminator.blocks.1.conv0.weight"
    assert torch.equal(judge.blocks[3].conv0.weight, discriminator.blocks[1].conv0.weight)
    assert table["discriminator.blocks.0.conv0.weight"].outcome == "new"
    assert torch.equal(target.mapping.w_avg, generator.mapping.w_avg)
    assert "generator.synthesis.layers.4.affine.weight" in report.names("left")  # ToRGB
    assert " more" in str(report)


def test_what_the_source_has_left_over_is_named(path: Path) -> None:
    larger = replace(TINY, height=64, width=32, num_layers=6)
    generator, discriminator = networks(0, larger)
    save_gan(path, generator, discriminator, DiscriminatorConfig(64, 8), {})
    report = transfer(path, *networks(1))
    left = set(report.names("left"))
    for index in (4, 5):  # ToRGB is the sixth
        assert f"generator.synthesis.layers.{index}.weight" in left
    assert {f"discriminator.blocks.{i}.conv0.weight" for i in (0, 1)} <= left
    assert "discriminator.blocks.2.conv0.weight" not in left
    assert f"; {len(left)} left: generator." in str(report)


def test_biases_and_magnitudes_go_with_their_weights(path: Path) -> None:
    generator, discriminator = networks(0)
    generator.synthesis.layers[0].magnitude_ema.fill_(5.0)
    save_gan(path, generator, discriminator, DiscriminatorConfig(64, 8), {})
    radial, judge = networks(1, replace(TINY, radial=True))
    report = transfer(path, radial, judge)
    assert radial.synthesis.layers[0].magnitude_ema == 1.0
    reasons = {t.name: t.reason for t in report.tensors if t.outcome == "new"}
    for name in ("bias", "magnitude_ema"):
        assert reasons[f"generator.synthesis.layers.0.{name}"] == "its layer's weight is new"
    # ToRGB has 1x1 convolutions in both configurations.
    assert "generator.synthesis.layers.4.weight" in report.names("transferred")


def test_the_table_in_full(path: Path, tmp_path: Path) -> None:
    save(path)
    report = transfer(path, *networks(1, replace(TINY, width=16)))
    report.write(tmp_path / "deep" / "transfer.json")
    table = json.loads((tmp_path / "deep" / "transfer.json").read_text())
    assert len(table["tensors"]) == len(report.tensors)
    assert {
        "name": "discriminator.fc.weight",
        "outcome": "adapted",
        "reason": "last feature map (4, 2) to (4, 4)",
    } in table["tensors"]


def test_nothing_fits(path: Path) -> None:
    # Numbers and vectors that happen to fit are no reason to start from this file.
    tensors = {
        "generator.synthesis.layers.0.magnitude_ema": torch.ones([]),
        "generator.mapping.w_avg": torch.zeros(8),
        "generator.synthesis.layers.0.weight": torch.zeros(3, 3),
    }
    save_model(path, "stylegan3", tensors, {"generator": {"height": 16, "width": 8}}, {})
    with pytest.raises(UserError, match="no weight fits"):
        transfer(path, *networks(0))


def test_other_kinds_are_refused(path: Path) -> None:
    with pytest.raises(UserError, match="no weights at"):
        load_generator(path)
    save_model(path, "encoder", {"a": torch.zeros(3)}, {}, {})
    with pytest.raises(UserError, match="holds an encoder, not a StyleGAN3"):
        load_generator(path)
    with pytest.raises(UserError, match="not a StyleGAN3"):
        transfer(path, *networks(0))


GOOD = asdict(TINY) | {"c_dim": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": None}, "does not say which generator"),
        ({"generator": [1]}, "does not say which generator"),
        ({"generator": GOOD | {"colour": 1}}, "generator.colour is unknown here"),
        (
            {"generator": GOOD | {"height": "16"}},
            "generator.height: Input should be",
        ),
        ({"generator": {"height": 16}}, "generator.width: Field required"),
        ({"generator": GOOD | {"width": 0}}, "canvas 16x0"),
        ({"generator": GOOD | {"num_layers": 10**9}}, r"num_layers \(1000000000\)"),
        ({"generator": GOOD | {"c_dim": 3}}, "c_dim is 3, which is not the number of classes"),
        ({"classes": {}}, "classes.condition: Field required"),
        ({"classes": 7}, "does not say which classes"),
    ],
)
def test_a_foreign_architecture_is_one_line(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    save(path)
    saved = load_model(path, "stylegan3")
    save_model(path, "stylegan3", saved.tensors, saved.architecture | changes, saved.recipe)
    for read in (load_generator, lambda p: transfer(p, *networks(1)), export):
        with pytest.raises(UserError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path} cannot be read: ")
        assert "\n" not in str(caught.value)


def export(path: Path) -> None:
    export_generator(path, path.with_name("alone.safetensors"))


def test_tensors_that_do_not_fit_their_settings_are_one_line(path: Path) -> None:
    save(path)
    saved = load_model(path, "stylegan3")
    tensors, architecture = saved.tensors, saved.architecture

    def write(other: dict[str, torch.Tensor], own: dict[str, Any]) -> None:
        save_model(path, "stylegan3", other, own, {})

    wrong = "generator.synthesis.layers.0.weight"
    write(tensors | {wrong: torch.zeros(2)}, architecture)
    with pytest.raises(UserError, match=r"layers\.0\.weight is \(2,\), its settings demand"):
        load_generator(path)
    write(tensors | {"generator.a\nb": torch.zeros(2)}, architecture)
    with pytest.raises(UserError, match=r"tensors without counterpart: a\\nb"):
        load_generator(path)
    settings = architecture["generator"] | {"w_dim": 2**16}
    write(tensors, architecture | {"generator": settings})
    with pytest.raises(UserError, match=r"w_avg is \(8,\), its settings demand \(65536,\)"):
        load_generator(path)
    for vector in ("discriminator.fc.weight", "generator.mapping.layers.0.weight"):
        write(tensors | {vector: torch.zeros(64)}, architecture)
        assert vector in transfer(path, *networks(1, replace(TINY, width=16))).names("new")


def test_what_cannot_be_written_is_one_line(path: Path, tmp_path: Path) -> None:
    save(path)
    (tmp_path / "file").touch()
    (tmp_path / "taken.safetensors").mkdir()
    for target in ("file/x.safetensors", "taken.safetensors"):
        with pytest.raises(UserError, match=f"cannot write {tmp_path / target}: "):
            export_generator(path, tmp_path / target)
    assert {p.name for p in tmp_path.iterdir()} == {"file", "taken.safetensors", path.name}
