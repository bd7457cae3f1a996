"""The packed model and the ONNX graph in it: judged on the pictures that the gate sends."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from mlflow.models import Model
from mlflow.pyfunc.model import PythonModelContext
from safetensors import safe_open
from safetensors.torch import save_file

from lookalike.config import Config
from lookalike.data.loading import encode_jpeg
from lookalike.data.population import render_crops
from lookalike.errors import UserError
from lookalike.registry.gates import ONNX_TOLERANCE
from lookalike.registry.serving import ONNX, check_serving, save_serving_model
from lookalike.registry.serving_model import EmbeddingModel, read_picture
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid, save_reid
from lookalike.reid.onnx_export import run_onnx


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Pedestrians of two sizes, neither of them the network's."""
    crops = render_crops(5, 2, 2, 128, 64, workers=1, progress=False)
    return [encode_jpeg(crop) for crop in (crops[0], crops[1, 10:], crops[2], crops[3])]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network at 32x16 whose running statistics are not the initial ones."""
    reid = Config().reid
    reid = reid.model_copy(update={"height": 32, "width": 16})
    torch.manual_seed(0)
    model = new_reid(reid, 2)
    model(torch.randn(8, 3, 32, 16))
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_reid(path, model, reid, ["a", "b"])
    return path


@pytest.fixture(scope="module")
def packed(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "model"
    save_serving_model(folder, weights, True, Model())
    return folder


def test_the_graph_beside_the_model_gives_its_embeddings(
    packed: Path, weights: Path, pictures: list[bytes]
) -> None:
    check, loads_safely = check_serving(packed, pictures)
    assert loads_safely and check.error == ""
    assert 0 <= check.onnx_difference <= ONNX_TOLERANCE
    assert weights.stat().st_size < 1e6 * check.size_mb < 1.1 * weights.stat().st_size
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    here = Embedder.load(weights, flip=True).embed(noise[None])
    there = run_onnx(packed / "artifacts" / ONNX, [noise])
    np.testing.assert_allclose(there, here, atol=1e-4)  # with flip, as evaluated


def test_another_damaged_or_missing_graph_fails(
    packed: Path,
    weights: Path,
    pictures: list[bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(packed, folder)
    graph = folder / "artifacts" / ONNX
    save_serving_model(tmp_path / "other", weights, False, Model())
    shutil.copy(tmp_path / "other" / "artifacts" / ONNX, graph)
    other, _ = check_serving(folder, pictures)
    assert other.onnx_difference > ONNX_TOLERANCE
    graph.write_bytes(graph.read_bytes()[:1000])
    assert np.isnan(check_serving(folder, pictures)[0].onnx_difference)
    assert capsys.readouterr().err.count(f"{ONNX}: ") == 1
    graph.unlink()
    check, _ = check_serving(folder, pictures)
    assert np.isnan(check.onnx_difference) and check.embeddings is not None


def test_a_graph_that_is_right_only_for_one_picture_fails(
    packed: Path, pictures: list[bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(packed, folder)
    path = folder / "artifacts" / ONNX
    graph = onnx.load(path)
    node, (output,) = onnx.helper.make_node, graph.graph.output
    last = next(n for n in graph.graph.node if output.name in n.output)
    last.output[0] = "right"
    one = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1.0])
    graph.graph.node.extend(
        [
            node("Constant", [], ["one"], value=one),
            node("Shape", ["images"], ["count"], start=0, end=1),
            node("Cast", ["count"], ["pictures"], to=onnx.TensorProto.FLOAT),
            node("Sub", ["pictures", "one"], ["more"]),
            node("Add", ["right", "more"], [output.name]),
        ]
    )
    onnx.save(graph, path)
    assert check_serving(folder, pictures[:1])[0].onnx_difference <= ONNX_TOLERANCE
    assert check_serving(folder, pictures)[0].onnx_difference > ONNX_TOLERANCE


def test_weights_that_diverged_are_packed_without_a_graph(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with safe_open(weights, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    broken = next(name for name in state if name.endswith("running_mean"))
    state[broken][0] = torch.nan
    save_file(state, tmp_path / "broken.safetensors", metadata)
    save_serving_model(tmp_path / "model", tmp_path / "broken.safetensors", False, Model())
    assert "registered without ONNX: cannot export" in capsys.readouterr().err
    names = [path.name for path in (tmp_path / "model" / "artifacts").iterdir()]
    assert names == ["broken.safetensors"]


def test_the_served_model_is_on_a_gpu_where_there_is_one(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[object] = []
    load = Embedder.load

    def recording(path: Path, **options: Any) -> Embedder:
        devices.append(options.pop("device"))
        return load(path, **options)

    monkeypatch.setattr(Embedder, "load", recording)
    for available in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=available: found)
        context = PythonModelContext({"weights": str(weights)}, {"flip": True})
        EmbeddingModel().load_context(context)
    assert [str(device) for device in devices] == ["cuda", "cpu"]


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (["A" * 100_000, *["b"] * 1000], "whole numbers"),
        ([[["A" * 100_000, "b", "b"]] * 300], "whole numbers"),
        ([[[1, 2, 3]], 4], "unequal depth"),
        ([[[1, 2, 3], [4]]], "no array"),
        ([[[0.5, 1.5, 2.5]]], "whole numbers"),
        ([], "has shape"),
    ],
)
def test_lists_of_something_else_cost_nothing(picture: list[Any], message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=message):
            read_picture(picture, "image", 10**6)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
