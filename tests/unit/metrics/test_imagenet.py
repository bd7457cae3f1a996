import hashlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from skimage import data

from lookalike.data.loading import resize_batch, to_tensor
from lookalike.errors import UserError
from lookalike.metrics import imagenet
from lookalike.metrics.comparison import Comparison
from lookalike.metrics.imagenet import NETWORKS, FeatureMaps, ImagenetFeatures, load
from lookalike.training.session import Session

EGYPTIAN_CAT = 285  # of ImageNet's classes
CAT = resize_batch(data.cat()[None], 224, 224)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_tensors_are_assigned_in_their_order(name: str) -> None:
    network = timm.create_model(f"tf_{name.replace('-', '_')}").eval()
    network.load_state_dict(imagenet._renamed(network.state_dict(), load(name)))
    with torch.inference_mode():
        chances = network(to_tensor(CAT, torch.device("cpu"))).softmax(1)[0]
    assert int(chances.argmax()) == EGYPTIAN_CAT
    assert chances[EGYPTIAN_CAT] > 0.5


def test_folded_batch_normalisation_changes_no_map() -> None:
    images = to_tensor(CAT, torch.device("cpu"))
    plain = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    plain.load_state_dict(imagenet._renamed(plain.state_dict(), load("efficientnet-lite0")))
    folded = FeatureMaps()
    with torch.inference_mode():
        expected, found = plain(images)[1:], folded(images)
    assert folded.channels == (24, 40, 112, 320)
    assert [tuple(m.shape[2:]) for m in found] == [(56, 56), (28, 28), (14, 14), (7, 7)]
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_maps_pass_gradients_to_the_image_and_keep_none() -> None:
    maps = FeatureMaps()
    maps.train()
    images = torch.zeros(1, 3, 64, 32, requires_grad=True)
    sum(m.square().mean() for m in maps(images)).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in maps.parameters())
    assert not any(module.training for module in maps.network.modules())


def test_another_file_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "foreign_weights"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "file.pth").write_bytes(b"not weights")
    monkeypatch.syspath_prepend(tmp_path)
    known = NETWORKS["efficientnet-lite0"]
    foreign = known._replace(package="foreign_weights", file="file.pth")
    monkeypatch.setitem(NETWORKS, "efficientnet-lite0", foreign)
    digest = hashlib.sha256(b"not weights").hexdigest()
    with pytest.raises(UserError, match=f"SHA-256 {digest}.*install foreign-weights again"):
        load("efficientnet-lite0")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = NETWORKS["efficientnet-lite0"]
    monkeypatch.setitem(NETWORKS, "efficientnet-lite0", known._replace(package="no_such_package"))
    with pytest.raises(UserError, match="pip install no-such-package"):
        load("efficientnet-lite0")


def test_distances_are_called_after_the_network(tmp_path: Path) -> None:
    extract = ImagenetFeatures("efficientnet-lite2")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 32, 16, 3), np.uint8)
    compare = Comparison(images, extract, Session(1), tmp_path)
    distances = compare(images, 6)
    assert set(distances) == {
        "precision",
        "recall",
        "frechet_efficientnet_lite2",
        "kernel_efficientnet_lite2",
    }
    assert distances["frechet_efficientnet_lite2"] == pytest.approx(0, abs=1e-3)
    assert extract(images[:1]).shape == (1, extract.dim) == (1, 1280)
