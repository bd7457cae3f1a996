from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from lookalike.config import Config
from lookalike.data.population import render_population
from lookalike.profiles import compose
from lookalike.rehearsal import shortened
from lookalike.rehearsal.shortened import bring_data, list_data, shorten

ROOT = Path(__file__).parents[3]
PROFILES = ("embedded", "study", "market1501", "strong")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("profile", PROFILES)
def test_only_amounts_change_and_no_size_that_a_network_sees(profile: str, device: str) -> None:
    config = compose(profile, ROOT / "profiles")
    short = shorten(config, torch.device(device))
    for section, changed in {
        "reid": {"epochs", "schedule"},
        "gan": {
            "batch_size",
            "micro_batch",
            "total_images",
            "checkpoint_images",
            "snapshot_images",
            "distance_samples",
        },
        "encoder": {"start", "batch_size", "micro_batch", "total_images", "checkpoint_images"},
    }.items():
        before, after = (getattr(c, section).model_dump(exclude=changed) for c in (config, short))
        assert before == after
    if device == "cuda":  # as much at once as the profile's process has, to see the memory
        assert short.gan.micro_batch == config.gan.micro_batch
    assert set(short.arms) == set(config.arms)


def test_parameters_that_hold_for_one_machine_or_length_alone_give_way() -> None:
    config = Config.model_validate(
        {
            "gan": {"precision": "fp16"},
            "reid": {"epochs": 9, "schedule": {"warm_up": 3, "decay": [4, 8]}},
            "data": {"others": {"duke": "dukemtmc"}},
            "arms": {
                "baseline": {"images": ["none"]},
                "late": {
                    "images": ["persons"],
                    "real": ["own", "duke"],
                    "batch_share": 0.5,
                    "epochs": [3, 9],
                },
            },
        }
    )
    short = shorten(config, torch.device("cpu"))
    assert short.gan.precision == "bf16" and short.arms["late"].real == ("own",)
    assert short.arms["late"].batch_share == 0.5
    assert shorten(config, torch.device("cuda")).gan.precision == "fp16"


def test_data_of_the_users_own_is_taken_a_few_whole_persons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in (("TRAIN_PERSONS", 1), ("TEST_PERSONS", 2), ("OTHERS", 1)):
        monkeypatch.setattr(shortened, name, number)
    render_population(
        tmp_path / "data",
        seed=5,
        train_persons=6,
        test_persons=4,
        images_per_person=4,
        distractors=3,
        junk=3,
        workers=1,
        progress=False,
    )
    found = list_data(Config(), tmp_path / "data")
    assert bring_data(Config(), found, tmp_path / "data", tmp_path / "few")
    names = {path.name for path in (tmp_path / "few").rglob("*.jpg")}
    assert names < {path.name for path in (tmp_path / "data").rglob("*.jpg")}
    persons = {name.split("_")[0] for name in names}
    assert len(persons - {"-1", "0000"}) == 5 and {"-1", "0000"} <= persons
    few = list_data(Config(), tmp_path / "few")
    of_a_camera = Counter((image.split, image.person, image.camera) for image in few)
    of_train = Counter(person for split, person, _ in of_a_camera if split == "train")
    assert max(of_a_camera[key] for key in of_a_camera if key[0] == "train") == 2
    assert max(of_train.values()) == 2, "cameras of a person"
    assert {image.split for image in few} == {image.split for image in found}


def test_without_data_pedestrians_are_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in (("TRAIN_PERSONS", 1), ("TEST_PERSONS", 2)):
        monkeypatch.setattr(shortened, name, number)
    (tmp_path / "data").mkdir()  # of no layout
    found = list_data(Config(), tmp_path / "data")
    assert found == [] == list_data(Config(), tmp_path / "none")
    assert not bring_data(Config(), found, tmp_path / "data", tmp_path / "few")
    assert any((tmp_path / "few" / "query").iterdir())


def test_a_batch_that_draws_persons_finds_as_many() -> None:
    """And there are steps enough to see their pace: a first one alone warms up."""
    strong = compose("strong", ROOT / "profiles")
    short = shorten(strong, torch.device("cpu"))
    persons = strong.reid.batch_size // strong.reid.images_per_person
    assert shortened._learnt(strong) == persons == 16
    images = persons * shortened.IMAGES_PER_PERSON * short.reid.epochs
    assert images >= 3 * strong.reid.batch_size
    study = shorten(compose("study", ROOT / "profiles"), torch.device("cpu"))
    assert study.reid.epochs == 1


def test_every_image_passes_the_filters_that_there_are() -> None:
    """Those of random weights may reject everything, and then a stage stops."""
    for profile in PROFILES:
        config = compose(profile, ROOT / "profiles")
        short = shorten(config, torch.device("cpu")).filter.model_dump()
        assert (
            short["duplicate_similarity"] == 1.0
        )  # a new generator draws one image again and again
        for name, threshold in config.filter.model_dump().items():
            if name.endswith("_threshold"):
                assert (short[name] is None) == (threshold is None)
                assert threshold is None or short[name]["value"] == -1e6


@pytest.mark.parametrize("profile", ["study", "embedded"])
def test_variations_take_as_long_as_most_of_the_real_ones(profile: str) -> None:
    """Most real batches invert a second image for each; what keeps detail draws twice."""
    from lookalike.synthesis.from_images import WITH_IMAGE
    from lookalike.synthesis.kinds.variations import plan_variations

    config = compose(profile, ROOT / "profiles")
    short = shorten(config, torch.device("cpu"))
    for plan in plan_variations({"1": ["a", "b"], "2": ["c", "d"]}, short.generate.variations):
        assert plan.recipe.kind in WITH_IMAGE
        assert plan.recipe.detail is config.generate.variations.detail
