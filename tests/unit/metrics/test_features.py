from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pipelines import train_gan
from pipelines.stage import Stage
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.metrics.features import (
    InceptionFeatures,
    ReidFeatures,
    inception_network,
    resize_clean,
)
from lookalike.tracking import NullTracker
from lookalike.training.session import Session
from lookalike.weights import FILES, VARIABLE


@pytest.fixture(scope="module")
def state():
    """A state dict of the published file's shape, with random numbers."""
    torch.manual_seed(0)
    network = inception_network()
    return network.state_dict() | {
        "fc.weight": torch.randn(1008, 2048),
        "fc.bias": torch.zeros(1008),
    }


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(old, path, _use_new_zipfile_serialization=False)  # as old as the published file
    return path


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def extractor(weights):
    return InceptionFeatures(weights, batch_size=1)


def test_inception_features(extractor, images):
    features = extractor(images)
    assert (extractor.name, extractor.kernel_name) == ("fid", "kid")
    assert (features.shape, features.dtype) == ((2, 2048), np.float32)
    assert np.isfinite(features).all()
    assert not np.allclose(features[0], features[1])


def test_the_gans_stage_takes_inception_where_the_parameters_say_so(
    weights, extractor, images, tmp_path, monkeypatch
):
    monkeypatch.setenv(VARIABLE, str(weights.parent))
    made = replace(FILES["inception-2015"], file_name=weights.name, sha256=sha256_file(weights))
    monkeypatch.setitem(FILES, "inception-2015", made)
    config = Config()
    gan = config.gan.model_copy(update={"distance_features": "inception"})
    stage = Stage("train_gan", config.model_copy(update={"gan": gan}), NullTracker(), tmp_path)
    chosen = train_gan.features(stage, Session(1))
    assert (chosen.name, chosen.kernel_name, chosen.digest) == ("fid", "kid", extractor.digest)
    assert chosen(images) == pytest.approx(extractor(images), rel=1e-3, abs=1e-5)


def test_the_network_is_torch_fidelitys(extractor, state, tmp_path):
    """The same file through torch-fidelity's own class, at the size that needs no resize."""
    path = tmp_path / "full.pth"
    torch.save(state, path)
    reference = FeatureExtractorInceptionV3("reference", ["2048"], str(path))
    image = np.random.default_rng(1).integers(0, 256, (1, 299, 299, 3), dtype=np.uint8)
    expected = reference(torch.from_numpy(image).permute(0, 3, 1, 2))[0].numpy()
    assert extractor(image) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_foreign_file_is_refused(tmp_path, state):
    foreign = tmp_path / "foreign.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, foreign)
    with pytest.raises(UserError, match=r"no state dict of Inception: missing"):
        InceptionFeatures(foreign)
    foreign.write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match=r"foreign\.pth is no state dict"):
        InceptionFeatures(foreign)
    torch.save({"anything": InceptionFeatures}, foreign)  # a pickle that would import a class
    with pytest.raises(UserError, match=r"no state dict"):
        InceptionFeatures(foreign)


def test_the_resize_is_float_bicubic_with_antialiasing(images):
    image = images[0]
    resized = resize_clean(image)
    assert (resized.shape, resized.dtype) == ((3, 299, 299), np.float32)
    assert resized.min() >= 0
    assert resized.max() <= 255
    assert (resized != resized.round()).any()  # not through uint8
    tame = image // 2 + 64  # Pillow clips uint8 between its two passes; nothing overshoots here
    through_uint8 = np.asarray(
        Image.fromarray(tame).resize((299, 299), Image.Resampling.BICUBIC)
    ).transpose(2, 0, 1)
    # The same kernel, but for rounding after either pass.
    assert np.abs(resize_clean(tame) - through_uint8).max() <= 1.5
    # Antialiasing: a fine checkerboard shrinks to its mean instead of to noise.
    board = (np.indices((900, 900)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert resize_clean(np.stack([board] * 3, axis=2)).std() < 10


def test_reid_features_keep_their_own_name(images):
    class MeanColour:
        dim = 3

        def embed(self, images):
            return images.mean(axis=(1, 2)).astype(np.float32)

    features = ReidFeatures(MeanColour(), "digest")
    assert (features.name, features.kernel_name, features.dim) == ("frechet_reid", "kernel_reid", 3)
    assert features(images).shape == (2, 3)
