"""Parameter files: what is wrong is named in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from lookalike.config import ArmConfig, Config, Source, load_config
from lookalike.data.layouts.sources import SOURCES
from lookalike.errors import UserError

ROOT = Path(__file__).parents[2]


def write(folder: Path, **changes: Any) -> Path:
    """params.yaml with changes; `gan__height=3` is `gan.height: 3`."""
    values = Config().model_dump(mode="json")
    for name, value in changes.items():
        *sections, key = name.split("__")
        block = values
        for section in sections:
            block = block[section]
        block[key] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def complaint(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_is_written_is_read_and_the_rest_has_its_default(tmp_path: Path) -> None:
    assert load_config(write(tmp_path)) == Config()
    path = tmp_path / "params.yaml"
    path.write_text("gan: {height: 32}\narms: {baseline: {images: [none]}}\n")
    gan = Config().gan.model_copy(update={"height": 32})
    arms = {"baseline": ArmConfig(images=("none",))}
    assert load_config(path) == Config().model_copy(update={"gan": gan, "arms": arms})


def test_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().gan.height = 32  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"gan__hieght": 64}, ["gan.hieght", "not permitted"]),
        ({"reid__epochs": "many"}, ["reid.epochs", "valid integer"]),
        ({"reid__dropout": 1.5}, ["reid.dropout", "less than or equal to 1"]),
        ({"reid__loss__triplet": "hard"}, ["reid.loss.triplet", "'soft'"]),
        ({"reid__loss__triplet": 0.3}, ["reid: ", "images_per_person must be 2 or more"]),
        ({"reid__images_per_person": 5}, ["reid: ", "whole persons"]),
        ({"reid__schedule__warm_up": 8}, ["reid: ", "schedule.warm_up must be shorter"]),
        ({"reid__schedule__freeze": 1}, ["reid: ", "none to keep"]),
        ({"gan__batch_size": 10, "gan__micro_batch": 4}, ["gan.batch_size", "gan.micro_batch"]),
        ({"gan__micro_batch": 2}, ["gan: ", "micro_batch must be a multiple of 4"]),
        ({"gan__batch_size": 2, "gan__micro_batch": 1}, ["gan: ", "must be a multiple of 2"]),
        ({"gan__batch_size": 12, "gan__micro_batch": 6}, ["gan: ", "must be a multiple of 4"]),
        ({"gan__config": "s"}, ["gan.config", "'t' or 'r'"]),
        ({"gan__distance_samples": "some"}, ["gan.distance_samples", "'full'"]),
        ({"gan__distance_samples": 3}, ["gan.distance_samples", "greater than or equal to 4"]),
        (
            {"gan__ada": {"initial_p": 0, "images": 1, "max_p": 2}},
            ["gan.ada.max_p"],
        ),
        (
            {"gan__ada": {"initial_p": 1, "target": 0.6, "images": 1, "max_p": 0.8}},
            ["gan.ada", "initial_p must not be larger than max_p"],
        ),
        ({"data__rendered": None}, ["data.rendered is needed"]),
        ({"arms__baseline": {"images": ["persons"]}}, ["arms.baseline", "images: [none]"]),
        (
            {
                "data__others": {"duke": "dukemtmc"},
                "arms__baseline": {"images": ["none"], "real": ["duke"]},
            },
            ["arms.baseline", "real: [own]"],
        ),
        (
            {"arms__far": {"images": ["none"], "real": ["own", "duke"]}},
            ["arms.far.real: no data set duke; there is own"],
        ),
        ({"arms__far": {"images": "persons"}}, ["arms.far.images", "a list: write [persons]"]),
        ({"arms__far": {"images": []}}, ["arms.far.images", "at least 1"]),
        ({"arms__far": {"images": ["none", "persons"]}}, ["arms.far.images", "or none alone"]),
        ({"arms__far": {"images": ["persons"] * 2}}, ["arms.far.images", "each kind once"]),
        ({"arms__a/b": {"images": ["none"]}}, ["arms.a/b", "match pattern"]),
        ({"arms__far": {"images": ["none"], "real": []}}, ["arms.far.real", "at least 1"]),
        ({"data__others": {"own": "csv"}}, ["data.others: own is the main data set"]),
        ({"data__others": {"a/b": "csv"}}, ["data.others.a/b", "match pattern"]),
        ({"filter__ssim_threshold": {}}, ["filter.ssim_threshold", "value or rejection_rate"]),
        ({"seed": -1, "gan__margin": 0}, ["seed", "gan.margin"]),  # all at once
    ],
)
def test_wrong_values_are_named(tmp_path: Path, changes: dict[str, Any], parts: list[str]) -> None:
    message = complaint(write(tmp_path, **changes))
    for part in parts:
        assert part in message


def test_an_arm_may_train_on_another_data_set(tmp_path: Path) -> None:
    far = {"images": ["none"], "real": ["duke"]}
    config = load_config(write(tmp_path, data__others={"duke": "dukemtmc"}, arms__far=far))
    assert config.arms["far"].real == ("duke",) and config.arms["baseline"].real == ("own",)
    assert set(get_args(Source)) == set(SOURCES)


@pytest.mark.parametrize(
    "images", [["persons", "variations"], ["variations", "persons"], ["persons"], ["none"]]
)
def test_an_arm_of_one_kind_or_both(tmp_path: Path, images: list[str]) -> None:
    config = load_config(write(tmp_path, arms__mine={"images": images}))
    assert config.arms["mine"].images == tuple(images)


def test_no_file_no_yaml_no_mapping(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert "no parameter file" in complaint(path)
    path.write_text("a: [1,\nb: 2")
    assert "not YAML" in complaint(path)
    path.write_text("")
    assert "file: " in complaint(path)
