from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import alexnet

from lookalike.config import EncoderConfig
from lookalike.errors import UserError
from lookalike.inversion.losses import InversionLoss, perceptual_loss


def pooled(x: torch.Tensor) -> torch.Tensor:
    """Differentiable features that tell colours apart."""
    return torch.nn.functional.adaptive_avg_pool2d(x, (2, 1)).flatten(1)


def test_random_lpips_is_the_same_every_time_and_leaves_the_seed_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = perceptual_loss("random"), perceptual_loss("random")
    assert torch.equal(torch.rand(1), expected)
    x, y = torch.rand(2, 2, 3, 64, 32) * 2 - 1
    assert torch.equal(first(x, y), second(x, y))
    assert first(x, y).shape == (2,)


def test_random_lpips_is_a_differentiable_distance() -> None:
    loss = perceptual_loss("random")
    x = torch.rand(1, 3, 64, 32, requires_grad=True)
    assert loss(x, x).item() == 0
    y = torch.rand(1, 3, 64, 32)
    near, far = loss(y + 0.02 * (x - y), y), loss(x, y)
    assert 0 < near.item() < far.item()
    far.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().max() > 0
    assert not any(p.requires_grad for p in loss.parameters())


@pytest.mark.parametrize("weights", [None, Path("nowhere/vgg16.pth")])
def test_missing_weights_are_named(weights: Path | None) -> None:
    with pytest.raises(UserError, match="vgg16-imagenet needs its weights"):
        perceptual_loss("vgg16-imagenet", weights)


@pytest.fixture(scope="module")
def alexnet_state() -> dict[str, torch.Tensor]:
    """Of torchvision's shape, random numbers."""
    torch.manual_seed(1)
    return {f"features.{name}": t for name, t in alexnet().features.state_dict().items()}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_trained_trunk_comes_from_the_file(
    suffix: str, alexnet_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    features = alexnet_state
    path = tmp_path / f"alexnet{suffix}"
    if suffix == ".pth":
        torch.save(features, path)
    else:
        save_file(features, path)
    loss = perceptual_loss("alexnet-imagenet", path)
    assert torch.equal(loss.model.net.slice1[0].weight, features["features.0.weight"])
    assert torch.equal(loss.model.net.slice5[0].bias, features["features.10.bias"])
    # The calibrated layer weights that ship with lpips are not negative.
    assert all((layer.model[1].weight >= 0).all() for layer in loss.model.lins)
    x = torch.rand(1, 3, 64, 32)
    assert loss(x, 1 - x).item() > 0


def test_wrong_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="does not hold torchvision's weights"):
        perceptual_loss("alexnet-imagenet", path)
    path.write_bytes(b"no weights at all")
    with pytest.raises(UserError, match=r"weights\.pth"):
        perceptual_loss("alexnet-imagenet", path)


def test_terms_are_what_they_are_called(config: EncoderConfig) -> None:
    w_avg = torch.ones(8)
    loss = InversionLoss(config, w_avg, perceptual_loss("random"), pooled)
    x = torch.rand(2, 3, 64, 32) * 2 - 1
    ws = torch.ones(2, 6, 8)
    same = loss(x, loss.target(x), x, ws)
    assert all(abs(value.item()) < 1e-6 for value in same.values())

    ws[:, 0, 0] += 3
    other = loss(x, loss.target(x), x + 0.5, ws)
    assert other["l2"].item() == pytest.approx(0.25, rel=1e-5)
    assert other["latent_norm"].item() == pytest.approx(3, rel=1e-5)
    cosine = torch.nn.functional.cosine_similarity(pooled(x), pooled(x + 0.5)).mean()
    assert other["identity"].item() == pytest.approx(1 - cosine.item(), abs=1e-6)
    assert other["loss"].item() == pytest.approx(
        other["l2"].item()
        + 0.8 * other["lpips_random"].item()
        + 0.1 * other["identity"].item()
        + 0.001 * 3,
        rel=1e-5,
    )


def test_only_a_trained_trunk_gives_lpips(
    config: EncoderConfig, alexnet_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """No metric goes under a name that it is not."""
    weights = tmp_path / "alexnet.safetensors"
    save_file(alexnet_state, weights)
    trained = config.model_copy(update={"perceptual_backbone": "alexnet-imagenet"})
    x = torch.rand(2, 3, 64, 32) * 2 - 1
    named = {}
    for some, perceptual in (
        (config, perceptual_loss("random")),
        (trained, perceptual_loss("alexnet-imagenet", weights)),
    ):
        loss = InversionLoss(some, torch.zeros(8), perceptual, pooled)
        terms = loss(x, loss.target(x), -x, torch.zeros(2, 6, 8))
        named[some.perceptual_backbone] = {name for name in terms if "lpips" in name}
        (name,) = named[some.perceptual_backbone]
        assert terms[name].item() == pytest.approx(perceptual(-x, x).mean().item(), rel=1e-5)
    assert named == {"random": {"lpips_random"}, "alexnet-imagenet": {"lpips"}}


def test_terms_without_weight_are_not_computed(config: EncoderConfig) -> None:
    def forbidden(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("called")

    plain = config.model_copy(update={"identity": 0.0, "perceptual": 0.0})
    loss = InversionLoss(plain, torch.zeros(8), torch.nn.Module(), forbidden)
    x = torch.rand(2, 3, 32, 16)
    assert set(loss(x, loss.target(x), x, torch.zeros(2, 6, 8))) == {"loss", "l2", "latent_norm"}
