"""Embeddings: unit length, independent of how images are batched, resized when needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lookalike.config import ReidConfig
from lookalike.data.loading import Images, resize_batch, to_tensor
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import ReidNet, new_reid, save_reid

Crops = tuple[Images, list[str]]


@pytest.fixture
def model(config: ReidConfig) -> ReidNet:
    torch.manual_seed(0)
    model = new_reid(config, 3)
    model(torch.randn(8, 3, 32, 16))  # running statistics that are not the initial ones
    return model


def test_unit_length_whatever_the_batches(model: ReidNet, crops: Crops) -> None:
    images, _ = crops
    whole = Embedder(model, batch_size=8).embed(images)
    assert whole.shape == (8, 32)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    parts = Embedder(model, batch_size=3).embed(images)
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    assert np.ptp(whole, axis=0).max() > 0.01  # images differ


def test_embedding_is_the_normalised_feature(model: ReidNet, crops: Crops) -> None:
    images, _ = crops
    embedder = Embedder(model)
    with torch.no_grad():
        features = model.features(to_tensor(images)).numpy()
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(images), expected, atol=1e-6)
    assert embedder.dim == 32


def test_flip_makes_mirror_images_equal(model: ReidNet, crops: Crops) -> None:
    images, _ = crops
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    flipping, plain = Embedder(model, flip=True), Embedder(model)
    np.testing.assert_allclose(flipping.embed(images), flipping.embed(mirrored), atol=1e-5)
    assert np.abs(plain.embed(images) - plain.embed(mirrored)).max() > 1e-4
    assert flipping.settings == {**plain.settings, "flip": True}


def test_other_sizes_are_resized(model: ReidNet, crops: Crops) -> None:
    large = resize_batch(crops[0], 64, 32)
    embedder = Embedder(model)
    expected = embedder.embed(resize_batch(large, 32, 16))
    np.testing.assert_array_equal(embedder.embed(large), expected)


def test_from_a_file_and_without_images(
    model: ReidNet, config: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    save_reid(tmp_path / "model.safetensors", model, config, ["a", "b", "c"])
    loaded = Embedder.load(tmp_path / "model.safetensors", batch_size=4)
    np.testing.assert_allclose(loaded.embed(crops[0]), Embedder(model).embed(crops[0]), atol=1e-6)
    assert loaded.embed(crops[0][:0]).shape == (0, 32)
    with pytest.raises(ValueError, match="uint8"):
        loaded.embed(crops[0][0])


def test_nothing_is_rounded_to_less_than_float32(
    model: ReidNet, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU would compute convolutions in TF32, three digits of a number, and miss the CPU's."""
    seen: list[tuple[bool, str, bool]] = []
    features = model.features

    def watched(x: torch.Tensor) -> torch.Tensor:
        precision = torch.get_float32_matmul_precision()
        autocast = torch.is_autocast_enabled("cpu")
        seen.append((torch.backends.cudnn.allow_tf32, precision, autocast))
        return features(x)

    monkeypatch.setattr(model, "features", watched)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with torch.autocast("cpu", torch.bfloat16):
        Embedder(model).embed(crops[0])
    assert seen == [(False, "highest", False)]
    assert torch.backends.cudnn.allow_tf32
