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

from lookalike.config import ReidConfig
from lookalike.data.loading import resize_batch
from lookalike.data.population import render_crops
from lookalike.errors import UserError
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid
from lookalike.reid.onnx_export import export_onnx, resize_like_pillow

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


def test_a_model_that_diverged_is_not_written(config: ReidConfig, tmp_path: Path) -> None:
    broken = embedder(config, flip=False)
    with torch.no_grad():
        broken.model.norm.weight[0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        export_onnx(broken, tmp_path / "model.onnx", {})
    assert list(tmp_path.iterdir()) == []
