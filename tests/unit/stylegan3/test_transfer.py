"""What transfer learning takes over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lookalike.errors import UserError
from lookalike.stylegan3.checkpoint import DiscriminatorConfig, save_gan
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.projected import ProjectedDiscriminator
from lookalike.stylegan3.transfer import transfer
from lookalike.training.model_file import save_model

from .tiny import TINY, networks, save


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gan.safetensors"


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
    narrow, judge = networks(1, replace(TINY, channel_base=32, channel_max=4))
    report = transfer(path, narrow, judge)
    assert narrow.synthesis.layers[0].magnitude_ema == 1.0
    reasons = {t.name: t.reason for t in report.tensors if t.outcome == "new"}
    for name in ("bias", "magnitude_ema"):
        assert reasons[f"generator.synthesis.layers.0.{name}"] == "its layer's weight is new"


def test_config_t_is_no_start_for_config_r(path: Path) -> None:
    """The mapping and the discriminator would fit, and the training begin all but anew."""
    save(path)
    with pytest.raises(UserError, match=r"of config t, and gan\.config is r: name one of config r"):
        transfer(path, *networks(1, replace(TINY, radial=True)))


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


def test_a_wider_network_does_at_first_what_the_narrow_one_did(path: Path) -> None:
    generator, discriminator = save(path)
    wide = replace(TINY, channel_base=96, channel_max=12)
    torch.manual_seed(1)
    wider, judge = Generator(wide), Discriminator(16, 8, channel_base=96, channel_max=12)
    report = transfer(path, wider, judge)
    assert "generator.synthesis.layers.0.weight" in report.names("adapted")
    z = torch.randn(4, 8)
    with torch.no_grad():
        before, after = generator.eval()(z), wider.eval()(z)
        features = (before, after)
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
        for block, wider_block in zip(discriminator.blocks, judge.blocks, strict=True):
            if block is discriminator.blocks[0]:
                features = (discriminator.from_rgb(before), judge.from_rgb(before))
            features = (block(features[0]), wider_block(features[1]))
            narrow, found = features[0], features[1][:, : features[0].shape[1]]
            torch.testing.assert_close(found, narrow, rtol=1e-4, atol=1e-4)
    # After the minibatch standard deviation nothing is taken over: its channel would be another.
    assert {"discriminator.conv.weight", "discriminator.conv.bias"} <= set(report.names("new"))


def test_new_channels_learn(path: Path) -> None:
    save(path)
    wider = Generator(replace(TINY, channel_base=96, channel_max=12))
    transfer(path, wider, networks(1)[1])
    wider(torch.randn(2, 8)).square().mean().backward()
    weight = wider.synthesis.layers[1].weight
    assert weight.grad is not None
    assert weight.grad[:8, 8:].abs().min() > 0


def test_the_heads_of_a_discriminator_on_features_are_taken_over(path: Path) -> None:
    generator, discriminator = networks(0)
    projected = ProjectedDiscriminator(16, 8)
    projected.normalise()
    widths = DiscriminatorConfig(64, 8)
    save_gan(path, generator, discriminator, widths, {}, projected=projected)
    torch.manual_seed(5)
    other = ProjectedDiscriminator(16, 8)
    images = torch.rand(2, 3, 16, 8)
    assert not torch.equal(other(images), projected(images))
    transfer(path, *networks(1), other)
    assert torch.equal(other(images), projected(images))
    # Who trains without one passes over them.
    assert all(n.startswith("projected.") for n in transfer(path, *networks(1)).names("left"))
