"""ONNX: Pillow's resize byte for byte, PyTorch's embeddings at any batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lookalike.config import ReidConfig
from lookalike.data.loading import resize_batch
from lookalike.data.population import render_crops
from lookalike.errors import UserError
from lookalike.profiles import compose
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid
from lookalike.reid.onnx_export import OUTPUT, export_onnx, resize_like_pillow, trace

SIDE = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(SIDE, SIDE, SIDE, SIDE, st.integers(0, 99))
def test_resize_gives_the_bytes_of_pillow(
    height: int, width: int, new_height: int, new_width: int, seed: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    ours = resize_like_pillow(torch.from_numpy(images), new_height, new_width)
    expected = resize_batch(images, new_height, new_width)
    np.testing.assert_array_equal(ours.permute(0, 2, 3, 1).numpy(), expected)


class Resize(nn.Module):
    def __init__(self, height: int, width: int):
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return resize_like_pillow(images, self.height, self.width)


@pytest.mark.parametrize("size", [(48, 24), (384, 128), (100, 37), (64, 32)])
def test_onnx_runtime_gives_the_bytes_of_pillow_too(size: tuple[int, int]) -> None:
    """Sides that are no power of two as well: their ratios are no float32."""
    session = onnxruntime.InferenceSession(trace(Resize(*size)), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for shape in ((128, 64), (25, 72), (33, 29), (300, 101), size):
        images = rng.integers(0, 256, (3, *shape, 3), dtype=np.uint8)
        (ours,) = session.run([OUTPUT], {"images": images})
        expected = resize_batch(images, *size)
        np.testing.assert_array_equal(ours.transpose(0, 2, 3, 1), expected)


def embedder(config: ReidConfig, flip: bool) -> Embedder:
    """A network whose running statistics are not the initial ones."""
    torch.manual_seed(0)
    model = new_reid(config, 3)
    model(torch.randn(8, 3, config.height, config.width))
    return Embedder(model, flip=flip)


@pytest.mark.parametrize("recipe", ["config", "strong"])
def test_equal_to_pytorch_on_pedestrians_at_any_batch_size(
    recipe: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    here = embedder(request.getfixturevalue(recipe), flip=recipe == "strong")
    path = tmp_path / "a folder" / "model.onnx"
    assert export_onnx(here, path, {"model": "test v1"}) <= 1e-4
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]
    assert {p.key: p.value for p in onnx.load(path).metadata_props} == {"model": "test v1"}

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    crops = render_crops(3, 2, 4, 128, 64, workers=1, progress=False)
    for count in (1, 2, 7, 8):
        for images in (crops[:count], crops[:count, 20:100, 5:40], crops[:count, ::4, ::4]):
            (there,) = session.run(None, {"images": images})
            np.testing.assert_allclose(there, here.embed(images), atol=1e-4)
            np.testing.assert_allclose(np.linalg.norm(there, axis=1), 1, atol=1e-5)
    assert np.ptp(here.embed(crops), axis=0).max() > 0.01, "pictures that differ"


@pytest.mark.parametrize(("profile", "size"), [("embedded", (64, 32)), ("market1501", (256, 128))])
def test_equal_to_pytorch_at_full_size_with_statistics_as_after_training(
    profile: str, size: tuple[int, int], tmp_path: Path
) -> None:
    config = compose(profile, Path(__file__).parents[3] / "profiles").reid
    assert (config.height, config.width) == size
    torch.manual_seed(0)
    model = new_reid(config, 9)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    here, path = Embedder(model), tmp_path / "model.onnx"
    assert export_onnx(here, path, {}) <= 1e-4
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    crops = render_crops(3, 8, 4, 128, 64, workers=1, progress=False)
    expected = here.embed(crops)
    assert np.ptp(expected, axis=0).max() > 0.005, "pictures that differ"
    for first, count in ((0, 1), (3, 7), (0, 32)):
        images = crops[first : first + count]
        (there,) = session.run(None, {"images": images})
        np.testing.assert_allclose(there, expected[first : first + count], atol=1e-4)


def test_a_model_that_diverged_is_not_written(config: ReidConfig, tmp_path: Path) -> None:
    broken = embedder(config, flip=False)
    with torch.no_grad():
        broken.model.norm.weight[0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        export_onnx(broken, tmp_path / "model.onnx", {})
    assert list(tmp_path.iterdir()) == []
