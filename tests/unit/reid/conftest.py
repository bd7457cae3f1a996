"""Tiny data and parameters; ResNet50 itself is what it is."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.config import ReidConfig
from lookalike.data.loading import Images


@pytest.fixture
def config() -> ReidConfig:
    """Two steps of two micro-batches on images of 32x16."""
    return ReidConfig(
        height=32,
        width=16,
        weights="none",
        embedding_dim=32,
        dropout=0.5,
        last_stride=2,
        epochs=2,
        batch_size=8,
        micro_batch=4,
        learning_rate=1e-3,
        weight_decay=1e-4,
        checkpoint_images=8,
        precision="no",
    )


@pytest.fixture
def crops() -> tuple[Images, list[str]]:
    """Eight noisy images of three persons, each of a colour of their own."""
    rng = np.random.default_rng(0)
    persons = ["0001", "0002", "syn-000001"] * 3
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]] * 3)
    noise = rng.integers(-40, 40, (9, 32, 16, 3))
    images = (colours[:, None, None, :] + noise).clip(0, 255).astype(np.uint8)
    return images[:8], persons[:8]
