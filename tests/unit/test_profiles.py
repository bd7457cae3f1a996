from pathlib import Path

import pytest

from lookalike.config import load_config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_profile_is_complete_and_named_after_its_file(path):
    assert load_config(path).profile == path.stem


def test_the_shipped_parameters_are_the_embedded_profile():
    assert load_config(ROOT / "params.yaml") == load_config(ROOT / "profiles" / "embedded.yaml")


def test_market1501_is_the_real_thing():
    config = load_config(ROOT / "profiles" / "market1501.yaml")
    assert config.data.source == "market1501"
    assert (config.gan.height, config.gan.width, config.gan.channel_base) == (256, 128, 16384)
    assert config.gan.distance_features == "inception"
    assert (config.filter.detector, config.filter.detector_threshold.value) == ("yolov4-tiny", 0.6)
    assert config.filter.ssim_threshold.value == 0.75
    assert (config.reid.weights, config.reid.epochs, config.reid.batch_size) == (
        "resnet50-imagenet",
        60,
        16,
    )
