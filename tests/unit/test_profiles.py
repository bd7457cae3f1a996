from pathlib import Path

import pytest

from lookalike.config import load_config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_profile_is_complete_and_named_after_its_file(path):
    assert load_config(path).profile == path.resolve().stem  # study is a link


def test_the_shipped_parameters_are_the_embedded_profile():
    shipped = (ROOT / "params.yaml").read_bytes()
    assert shipped == (ROOT / "profiles" / "embedded.yaml").read_bytes()


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


def test_study_and_strong_differ_in_the_recipe_only():
    study, strong = (
        load_config(ROOT / "profiles" / f"{name}.yaml") for name in ("study", "strong")
    )
    assert (ROOT / "profiles" / "study.yaml").readlink() == Path("market1501.yaml")
    same = {"profile": strong.profile, "reid": strong.reid, "gates": strong.gates}
    assert study.model_copy(update=same) == strong
    assert (study.reid.loss.triplet, study.reid.images_per_person) == (None, None)

    recipe = strong.reid  # Luo et al. 2019
    assert (recipe.height, recipe.width, recipe.last_stride, recipe.bnneck) == (256, 128, 1, True)
    persons = recipe.batch_size // recipe.images_per_person
    assert (persons, recipe.images_per_person, recipe.micro_batch) == (16, 4, 64)
    assert (recipe.epochs, recipe.schedule.warm_up, recipe.schedule.decay) == (120, 10, (40, 90))
    assert (recipe.optimizer, recipe.learning_rate, recipe.erasing) == ("adam", 3.5e-4, 0.5)
    assert recipe.loss.model_dump() == {
        "label_smoothing": 0.1,
        "triplet": 0.3,
        "centre": 0.0005,
        "circle": 0.0,
    }
