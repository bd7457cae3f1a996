"""The smallest generator that shows a picture, for every test that needs one but not its making."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lookalike.stylegan3.classes import Classes
    from lookalike.stylegan3.generator import Generator


@pytest.fixture
def tiny_generator() -> Callable[..., Generator]:
    """From a seed, and classes, to an untrained generator of 32x16 with six styles."""
    import torch

    from lookalike.stylegan3.design import GeneratorConfig
    from lookalike.stylegan3.generator import Generator

    def build(seed: int, classes: Classes | None = None) -> Generator:
        config = GeneratorConfig(
            height=32,
            width=16,
            z_dim=8,
            w_dim=8,
            channel_base=256,
            channel_max=16,
            num_layers=4,
            margin=4,
            c_dim=len(classes.names) if classes else 0,
        )
        torch.manual_seed(seed)
        generator = Generator(config, classes).eval().requires_grad_(False)
        labels = torch.arange(256) % config.c_dim if classes else None
        ws = generator.mapping(torch.randn(256, 8), labels=labels)
        generator.mapping.w_avg.copy_(ws[:, 0].mean(0))
        return generator

    return build


@pytest.fixture
def vivid_generator(tiny_generator: Callable[[int], Generator]) -> Generator:
    """With contrast, so that images differ in 8 bits."""
    generator = tiny_generator(0)
    generator.synthesis.layers[-1].weight.mul_(8)
    return generator


@pytest.fixture
def conditional_file(tiny_generator: Callable[..., Generator], tmp_path: Path) -> Path:
    """A vivid generator that knows the cameras 1, 2 and 6."""
    from lookalike.stylegan3.checkpoint import DiscriminatorConfig, save_gan
    from lookalike.stylegan3.classes import Classes
    from lookalike.stylegan3.discriminator import Discriminator

    generator = tiny_generator(0, Classes("camera", ("1", "2", "6"), (5, 1, 2)))
    generator.synthesis.layers[-1].weight.mul_(8)
    path = tmp_path / "gan" / "conditional.safetensors"
    channels = DiscriminatorConfig(channel_base=64, channel_max=8)
    discriminator = Discriminator(32, 16, channels.channel_base, channels.channel_max, c_dim=3)
    save_gan(path, generator, discriminator, channels, {"licence": "for tests"})
    return path


@pytest.fixture
def generator_file(vivid_generator: Generator, tmp_path: Path) -> Path:
    """The vivid generator as a file, of unknown origin but licensed."""
    from lookalike.stylegan3.checkpoint import DiscriminatorConfig, save_gan
    from lookalike.stylegan3.discriminator import Discriminator

    path = tmp_path / "gan" / "vivid.safetensors"
    channels = DiscriminatorConfig(channel_base=64, channel_max=8)
    discriminator = Discriminator(32, 16, channels.channel_base, channels.channel_max)
    save_gan(path, vivid_generator, discriminator, channels, {"licence": "for tests"})
    return path
