"""Tiny data and parameters; ResNet50 itself is what it is."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.config import ReidConfig, ReidLossConfig, ReidScheduleConfig
from lookalike.data.loading import Images


@pytest.fixture
def config() -> ReidConfig:
    """Two steps of two micro-batches on images of 32x16."""
    return ReidConfig(
        height=32,
        width=16,
        weights="none",
        embedding_dim=32,
        bnneck=False,
        dropout=0.5,
        last_stride=2,
        pooling="average",
        ibn=False,
        loss=ReidLossConfig(label_smoothing=0, triplet=None, centre=0, circle=0),
        epochs=2,
        batch_size=8,
        micro_batch=4,
        images_per_person=None,
        erasing=0,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=1e-4,
        schedule=ReidScheduleConfig(warm_up=0.2, decay="cosine", freeze=0),
        checkpoint_images=8,
        precision="fp32",
    )


@pytest.fixture
def strong(config: ReidConfig) -> ReidConfig:
    """All that a recipe can ask for, on two persons per micro-batch."""
    loss = ReidLossConfig(label_smoothing=0.1, triplet=0.3, centre=5e-4, circle=0.1)
    return config.model_copy(
        update={
            "embedding_dim": None,
            "bnneck": True,
            "last_stride": 1,
            "pooling": "gem",
            "ibn": True,
            "loss": loss,
            "images_per_person": 2,
            "erasing": 0.5,
            "optimizer": "adam",
            "schedule": ReidScheduleConfig(warm_up=0.5, decay=(1,), freeze=0),
        }
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
