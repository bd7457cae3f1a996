"""The smallest networks that the design admits."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.config import GanConfig
from lookalike.data.loading import Images


@pytest.fixture
def config() -> GanConfig:
    """Six steps of two micro-batches on images of 16x8; a checkpoint every two steps."""
    settings = GanConfig(
        config="t",
        condition="none",
        height=16,
        width=8,
        z_dim=8,
        w_dim=8,
        channel_base=64,
        channel_max=8,
        num_layers=4,
        margin=2,
        discriminator_channel_base=64,
        discriminator_channel_max=8,
        discriminator="stylegan",
        projected_weight=0.25,
        start="none",
        freeze_discriminator=0,
        total_images=24,
        batch_size=4,
        micro_batch=4,
        generator_lr=0.0025,
        discriminator_lr=0.002,
        r1_gamma=0.1,
        r1_interval=4,
        ema_half_life=100,
        mirror=True,
        ada=None,
        snapshot_images=12,
        distance_samples=4,
        distance_features="reid",
        checkpoint_images=8,
        precision="fp32",
    )
    # Smaller than parameters may be, and so quicker; the discriminator then compares two images.
    return settings.model_copy(update={"micro_batch": 2})


@pytest.fixture
def images() -> Images:
    """Eight crops of 16x8; no two alike, none its own mirror image."""
    return np.random.default_rng(0).integers(0, 256, (8, 16, 8, 3), dtype=np.uint8)
