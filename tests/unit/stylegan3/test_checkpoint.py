"""Networks on disk, and what transfer learning takes over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lookalike.errors import UserError
from lookalike.stylegan3.checkpoint import DiscriminatorConfig, load_generator, save_gan, transfer
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.training.checkpoint import load_weights, save_weights

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
    _, metadata = load_weights(path)
    assert metadata["provenance"] == {"seed": 0}
    assert metadata["discriminator"] == {"channel_base": 64, "channel_max": 8}


def test_half_precision_on_disk(path: Path, tmp_path: Path) -> None:
    generator, _ = save(path, torch.float16)
    save(tmp_path / "full.safetensors")
    tensors, _ = load_weights(path)
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
    assert report.new == ()
    for source, target in zip((generator, discriminator), targets, strict=True):
        state = target.state_dict()
        assert all(torch.equal(state[n], t) for n, t in source.state_dict().items())
    assert str(report) == f"{len(report.transferred)} tensors transferred"


def test_transfer_to_another_canvas_and_other_channels(path: Path) -> None:
    generator, _ = save(path)
    target, discriminator = networks(1, replace(TINY, width=16), channels=4)
    before = {name: t.clone() for name, t in discriminator.state_dict().items()}
    report = transfer(path, target, discriminator)
    # The generator fits any canvas; the discriminator has other channels behind its first layer.
    assert not [name for name in report.new if name.startswith("generator.")]
    assert {"discriminator.blocks.1.conv0.weight", "discriminator.fc.weight"} <= set(report.new)
    assert "discriminator.from_rgb.weight" in report.transferred
    assert "discriminator.fc.weight" in str(report)
    assert torch.equal(target.mapping.w_avg, generator.mapping.w_avg)
    after = discriminator.state_dict()
    for name in report.new:
        short = name.removeprefix("discriminator.")
        assert torch.equal(after[short], before[short]), "stays as it was initialised"
    names = {f"generator.{n}" for n in target.state_dict()}
    names |= {f"discriminator.{n}" for n in after}
    assert {*report.new, *report.transferred} == names


def test_nothing_fits(path: Path) -> None:
    save_weights(path, {"generator.other": torch.zeros(3)}, {"kind": "stylegan3"})
    with pytest.raises(UserError, match="no tensor fits"):
        transfer(path, *networks(0))


def test_other_kinds_are_refused(path: Path) -> None:
    with pytest.raises(UserError, match="no weights at"):
        load_generator(path)
    save_weights(path, {"a": torch.zeros(3)}, {"kind": "encoder"})
    with pytest.raises(UserError, match="holds encoder, not a StyleGAN3"):
        load_generator(path)
    with pytest.raises(UserError, match="not a StyleGAN3"):
        transfer(path, *networks(0))
