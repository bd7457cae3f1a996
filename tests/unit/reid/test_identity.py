"""Identity features: those of the network, with a gradient for the image and none for weights."""

from __future__ import annotations

import pytest
import torch

from lookalike.config import ReidConfig
from lookalike.reid.identity import IdentityFeatures
from lookalike.reid.model import new_reid


@pytest.fixture
def identity(config: ReidConfig) -> IdentityFeatures:
    torch.manual_seed(0)
    return IdentityFeatures(new_reid(config, 3))


def test_features_of_the_network(identity: IdentityFeatures) -> None:
    images = torch.rand(2, 3, 32, 16) * 2 - 1
    assert not identity.model.training
    assert torch.equal(identity(images), identity.model.features(images))


def test_gradients_reach_images_of_any_size_and_no_weight(identity: IdentityFeatures) -> None:
    images = torch.rand(2, 3, 48, 40).requires_grad_()
    features = identity(images)
    assert features.shape == (2, 32)
    features.square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    assert all(p.grad is None and not p.requires_grad for p in identity.parameters())


def test_flat_images_survive_resizing(identity: IdentityFeatures) -> None:
    small, large = torch.full((1, 3, 32, 16), 0.3), torch.full((1, 3, 64, 32), 0.3)
    torch.testing.assert_close(identity(large), identity(small), rtol=1e-4, atol=1e-5)
