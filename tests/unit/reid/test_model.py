"""The network, its weights file and ImageNet's state dict."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torchvision.models import resnet50

from lookalike.config import ReidConfig
from lookalike.errors import UserError
from lookalike.reid.model import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    GeneralisedMean,
    InstanceBatchNorm,
    ReidArchitecture,
    ReidNet,
    load_imagenet,
    load_reid,
    new_reid,
    save_reid,
)
from lookalike.training.model_file import load_model, save_model


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    """A state dict of the published shapes, with random numbers in it."""
    torch.manual_seed(1)
    model = resnet50(weights=None)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model.state_dict()


def architecture(last_stride: Literal[1, 2]) -> ReidArchitecture:
    return ReidArchitecture(5, 64, 32, 16, 0.5, last_stride)


def test_shapes_and_the_last_stride() -> None:
    x = torch.zeros(2, 3, 64, 32)
    maps: list[tuple[int, ...]] = []
    strides: tuple[Literal[1, 2], ...] = (1, 2)
    for stride in strides:
        model = ReidNet(architecture(stride)).eval()
        model.backbone.layer4.register_forward_hook(lambda *a: maps.append(tuple(a[2].shape[2:])))
        assert model.features(x).shape == (2, 16)
        assert model(x).shape == (2, 5)
    assert maps == [(4, 2), (4, 2), (2, 1), (2, 1)]


def test_backbone_is_torchvisions_with_normalisation_inside(
    imagenet: dict[str, torch.Tensor],
) -> None:
    reference = resnet50(weights=None)
    reference.load_state_dict(imagenet)
    reference.fc = torch.nn.Identity()
    model = ReidNet(architecture(2)).eval()
    report = load_imagenet(model, imagenet)
    assert report == "ResNet50: 318 tensors loaded, dropped fc.bias, fc.weight"
    pixels = torch.rand(2, 3, 64, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        pooled = reference.eval()((pixels - mean) / std)
        expected = model.norm(model.embedding(pooled))
        features = model.features(pixels * 2 - 1)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_generalised_mean_lies_between_mean_and_maximum() -> None:
    x = torch.rand(2, 4, 3, 5)
    pool = GeneralisedMean()
    expected = (x**3).mean(dim=(2, 3), keepdim=True) ** (1 / 3)
    torch.testing.assert_close(pool(x), expected)
    pool.p.data.fill_(1.0)
    torch.testing.assert_close(pool(x), x.mean(dim=(2, 3), keepdim=True))
    pool.p.data.fill_(400.0)
    torch.testing.assert_close(pool(x), x.amax(dim=(2, 3), keepdim=True), rtol=0.02, atol=0)
    assert torch.isfinite(pool(torch.zeros(1, 2, 3, 3, requires_grad=True))).all()


@pytest.mark.parametrize("training", [True, False])
def test_instance_batch_norm_is_one_half_of_each(training: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, 5, 3) * 2 + 1
    both = InstanceBatchNorm(6).train(training)
    instance, batch = torch.nn.InstanceNorm2d(3, affine=True), torch.nn.BatchNorm2d(3)
    batch.train(training)
    for parameter in both.parameters():
        parameter.data.uniform_(0.5, 1.5)
    for name in ("weight", "bias"):
        getattr(instance, name).data.copy_(getattr(both, name)[:3])
        getattr(batch, name).data.copy_(getattr(both, name)[3:])
    expected = torch.cat([instance(x[:, :3]), batch(x[:, 3:])], dim=1)
    torch.testing.assert_close(both(x), expected)
    assert both.running_mean is not None and batch.running_mean is not None
    torch.testing.assert_close(both.running_mean[3:], batch.running_mean)


def test_bag_of_tricks_head_and_imagenet_under_ibn_and_gem(
    strong: ReidConfig, imagenet: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = new_reid(strong, 3)
    report = load_imagenet(model, imagenet)
    assert report == "ResNet50: 318 tensors loaded, dropped fc.bias, fc.weight"
    first = model.backbone.layer3[5].bn1
    assert isinstance(first, InstanceBatchNorm)
    assert torch.equal(first.weight, imagenet["layer3.5.bn1.weight"])
    assert not any(isinstance(m, InstanceBatchNorm) for m in model.backbone.layer4.modules())
    assert model.embedding_dim == 2048
    assert model.classifier.bias is None and not model.norm.bias.requires_grad
    x = torch.randn(4, 3, 32, 16)
    model(x)
    save_reid(tmp_path / "strong.safetensors", model, strong, ["a", "b", "c"])
    loaded = load_reid(tmp_path / "strong.safetensors")
    with torch.no_grad():
        before = loaded.before_norm(x)
        assert torch.equal(loaded.features(x), loaded.norm(before))
        assert torch.equal(loaded(x), loaded.classify(before))
        assert torch.equal(loaded(x), model.eval()(x))


def test_imagenet_weights_from_files(imagenet: dict[str, torch.Tensor], tmp_path: Path) -> None:
    old = {n: t for n, t in imagenet.items() if not n.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    model = ReidNet(architecture(1))
    load_imagenet(model, tmp_path / "old.pth")
    assert torch.equal(model.backbone.conv1.weight, imagenet["conv1.weight"])


def test_wrong_imagenet_weights_are_refused(
    imagenet: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = ReidNet(architecture(1))
    with pytest.raises(UserError, match=r"1 missing \(conv1.weight\)"):
        load_imagenet(model, {n: t for n, t in imagenet.items() if n != "conv1.weight"})
    with pytest.raises(UserError, match=r"1 unknown \(layer5.weight\)"):
        load_imagenet(model, {**imagenet, "layer5.weight": torch.zeros(1)})
    with pytest.raises(UserError, match="of another shape"):
        load_imagenet(model, {**imagenet, "bn1.bias": torch.zeros(3)})
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(UserError, match="not a safe state dict"):
        load_imagenet(model, tmp_path / "page.pth")
    with pytest.raises(UserError, match="no weights at"):
        load_imagenet(model, tmp_path / "absent.pth")


def test_save_and_load_give_the_same_features(config: ReidConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = new_reid(config, 3)
    x = torch.randn(4, 3, 32, 16)
    model(x)  # moves the running statistics
    path = tmp_path / "model.safetensors"
    save_reid(path, model, config, ["0001", "0002", "syn-000001"])
    loaded = load_reid(path)
    assert not loaded.training
    assert (loaded.height, loaded.width, loaded.embedding_dim) == (32, 16, 32)
    with torch.no_grad():
        assert torch.equal(loaded(x), model.eval()(x))
    saved = load_model(path, "reid")
    assert saved.architecture | {"backbone": "resnet50"} == asdict(model.architecture)
    assert saved.recipe["classes"] == ["0001", "0002", "syn-000001"]
    assert ReidConfig.model_validate(saved.recipe["reid"]) == config
    assert {"height", "width", "resize", "mean", "std", "flip", "feature"} <= set(
        saved.recipe["score"]
    )


def test_a_recipe_of_another_version_is_no_reason_to_refuse(
    config: ReidConfig, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_reid(path, new_reid(config, 2), config, ["a", "b"])
    saved = load_model(path, "reid")
    later = config.model_dump() | {"colour_jitter": 0.2, "epochs": "until it is good"}
    save_model(path, "reid", saved.tensors, saved.architecture, {"reid": later})
    assert load_reid(path).height == 32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neck": "deep"}, "reid.neck is unknown here"),
        ({"backbone": "hf-hub:a/b"}, "timm has no model hf-hub:a/b"),
        ({"last_stride": 3}, "reid.last_stride: Input should be 1 or 2"),
        ({"height": 0}, "height and width must be at least 1"),
        ({"embedding_dim": -1}, "no network has such sizes: "),
        ({"num_classes": 10**12}, "is absent, its settings demand"),
        ({"dropout": 2.0}, "dropout probability has to be between 0 and 1"),
        ({"ibn": 1}, "reid.ibn: Input should be a valid boolean"),
    ],
)
def test_another_architecture_is_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, "reid", {}, asdict(architecture(2)) | changes, {})
    with pytest.raises(UserError, match=message) as caught:
        load_reid(path)
    assert str(caught.value).startswith(f"{path} cannot be read: ")
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, "encoder", {"x": torch.zeros(1)}, {}, {})
    with pytest.raises(UserError, match="holds an encoder, not a re-ID model"):
        load_reid(path)
