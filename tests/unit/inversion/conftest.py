from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lookalike.config import EncoderConfig
from lookalike.data.loading import Images
from lookalike.stylegan3.generator import Generator


@pytest.fixture
def generator(tiny_generator: Callable[[int], Generator]) -> Generator:
    return tiny_generator(0)


@pytest.fixture
def other_generator(tiny_generator: Callable[[int], Generator]) -> Generator:
    return tiny_generator(1)


@pytest.fixture
def config() -> EncoderConfig:
    return EncoderConfig(
        start="none",
        structure_styles=0,
        channels=8,
        steps=2,
        total_images=32,
        batch_size=8,
        micro_batch=4,
        learning_rate=0.003,
        l2=1.0,
        perceptual=0.8,
        perceptual_backbone="random",
        identity=0.1,
        latent_norm=0.001,
        checkpoint_images=8,
        precision="fp32",
    )


@pytest.fixture
def images() -> Images:
    """Four images with a person-like bar on a coloured ground."""
    images = np.empty((4, 32, 16, 3), np.uint8)
    draw = np.random.default_rng(0)
    for image in images:
        image[:] = draw.integers(0, 256, 3)
        image[4:28, 5:11] = draw.integers(0, 256, 3)
    return images
