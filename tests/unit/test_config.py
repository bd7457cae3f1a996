"""Parameter files: what is wrong is named in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml

from lookalike.config import (
    ArmConfig,
    Config,
    GanConfig,
    ReidConfig,
    RenderedConfig,
    Source,
    left_out,
    load_config,
    parse_config,
)
from lookalike.data.layouts.sources import SOURCES
from lookalike.errors import UserError
from lookalike.reid.model import new_reid
from lookalike.stylegan3.gan import build_gan
from lookalike.tracking import flatten

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
        ({"gan__hieght": 64}, ["gan.hieght: no such parameter; did you mean height?"]),
        (
            {"filter__detector_threshold": {"least": 0.5}},
            [
                "filter.detector_threshold.least: no such parameter; must be one of: value, ",
                "(a new one needs a field in src/lookalike/config/filtering.py)",
            ],
        ),
        (
            {"arms__far": {"images": ["none"], "wieght": 1}, "arms__label": {"lable": "own"}},
            ["arms.far.wieght: ", "did you mean weight?", "arms.label.lable: ", "label?"],
        ),
        ({"reid__epochs": "many"}, ["reid.epochs", "valid integer"]),
        ({"reid__dropout": 1.5}, ["reid.dropout", "less than or equal to 1"]),
        (
            {"reid__loss__triplet": "hard"},
            ["reid.loss.triplet: Input should be a valid number", ", or soft"],
        ),
        ({"reid__loss__triplet": 0.3}, ["reid: ", "images_per_person must be 2 or more"]),
        ({"reid__images_per_person": 5}, ["reid: ", "whole persons"]),
        ({"reid__schedule__warm_up": 10}, ["reid: ", "schedule.warm_up must be shorter"]),
        ({"reid__schedule__freeze": 1}, ["reid: ", "none to keep"]),
        ({"reid__weights": "../mine.safetensors"}, ["reid.weights: ", "path within weights/"]),
        (
            {"reid__weights": "/data/efficientnet-lite0.safetensors"},
            ["reid.weights: give the file's path within weights/"],
        ),
        (
            {"reid__weights": "resnet"},
            ["reid.weights: no such value as resnet; must be one of: none, "],
        ),
        ({"reid__weights": "resnet50_imagenet"}, ["reid.weights: ", "resnet50-imagenet? (or"]),
        ({"reid__backbone": "hf-hub:a/b"}, ["reid.backbone", "pattern"]),
        ({"reid__backbone": "vit_b", "reid__ibn": True}, ["reid: ", "ibn is a change to resnet50"]),
        (
            {"gan__batch_size": 10, "gan__micro_batch": 4},
            ["gan: ", "batch_size must be a multiple of micro_batch"],
        ),
        ({"gan__micro_batch": 2}, ["gan: ", "micro_batch must be a multiple of 4"]),
        ({"gan__batch_size": 2, "gan__micro_batch": 1}, ["gan: ", "must be a multiple of 2"]),
        ({"gan__batch_size": 12, "gan__micro_batch": 6}, ["gan: ", "must be a multiple of 4"]),
        ({"gan__config": "s"}, ["gan.config: no such value as s; must be one of: t, r"]),
        ({"gan__config": "T"}, ["gan.config: no such value as T; did you mean t?"]),
        ({"gan__discriminator": "bth"}, ["gan.discriminator: ", "did you mean both?"]),
        ({"gan__discriminator": None}, ["no such value as null; must be one of: stylegan, "]),
        ({"gan__distance_samples": "ful"}, ["gan.distance_samples: no such", "did you mean full?"]),
        ({"gan__distance_samples": "some"}, ["gan.distance_samples: ", "integer", ", or full"]),
        ({"reid__schedule__decay": 3}, ["reid.schedule.decay: must be a list, or cosine"]),
        ({"reid__schedule__decay": "cosin"}, ["reid.schedule.decay: ", "did you mean cosine?"]),
        ({"reid__schedule__decay": [4, "a"]}, ["reid.schedule.decay.1: Input should be a valid"]),
        ({"gan__ada": {"transforms": ["hues"]}}, ["gan.ada.transforms.0: ", "did you mean hue?"]),
        ({"data__others": {"duke": "dukemmc"}}, ["data.others.duke: ", "did you mean dukemtmc?"]),
        ({"arms__far": {"label": "own"}}, ["arms.far.images: is missing", "a line `images: ...`"]),
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
            ["arms.far.real: no data set duke; must be one of: own"],
        ),
        (
            {"arms__far": {"images": ["none"], "real": ["Own"]}},
            ["arms.far.real: no data set Own; did you mean own?"],
        ),
        ({"arms__far": {"images": "persons"}}, ["arms.far.images", "a list: write [persons]"]),
        ({"arms__far": {"images": []}}, ["arms.far.images", "at least 1"]),
        (
            {"arms__far": {"images": ["person"]}},
            ["arms.far.images.0: no such value as person; did you mean persons?"],
        ),
        ({"filter__detector": "hgo"}, ["filter.detector: no such value as hgo; did you mean hog?"]),
        ({"filter__detector": "yolov4_tiny"}, ["filter.detector: ", "did you mean yolov4-tiny?"]),
        ({"arms__far": {"images": ["none", "persons"]}}, ["arms.far.images", "or none alone"]),
        ({"arms__far": {"images": ["persons"] * 2}}, ["arms.far.images", "each kind once"]),
        (
            {"arms__far": {"images": ["none"], "label": "uniform"}},
            ["arms.far", "[none] adds no generated images"],
        ),
        (
            {"arms__far": {"images": ["persons"], "epochs": [0, 2]}},
            ["arms.far", "epochs needs batch_share"],
        ),
        (
            {"arms__far": {"images": ["persons"], "own_statistics": True}},
            ["arms.far", "own_statistics needs batch_share"],
        ),
        (
            {"arms__far": {"images": ["persons"], "batch_share": 0.5, "epochs": [2, 2]}},
            ["arms.far", "the first one after it"],
        ),
        (
            {"arms__far": {"images": ["persons"], "batch_share": 0.5, "epochs": [2, 11]}},
            ["arms.far: epochs ends at 11, and reid.epochs is 10"],
        ),
        (
            {"arms__far": {"images": ["persons"], "batch_share": 0.06}},
            ["arms.far: batch_share: 0.06", "1 generated image beside the 16 real ones"],
        ),
        (
            {"arms__far": {"images": ["persons"], "batch_share": 1}},
            ["arms.far.batch_share", "less than or equal to 0.8"],
        ),
        (
            {"arms__far": {"images": ["persons"], "label": "soft"}, "reid__images_per_person": 4},
            ["arms.far: label: soft leaves images without a person", "set batch_share"],
        ),
        (
            {
                "data__others": {"duke": "dukemtmc"},
                "arms__far": {"images": ["persons"], "label": "soft", "real": ["duke"]},
            },
            ["arms.far", "the baseline, which knows the persons of own alone"],
        ),
        ({"arms__baseline__label": "soft"}, ["arms.baseline", "[none] adds no generated images"]),
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


def test_an_arm_of_three_kinds_would_not_be_watched_whole() -> None:
    """Whoever adds a third kind is told so; `dvc.yaml` names an arm's first and last."""

    class WithMoreKinds(ArmConfig):
        images: tuple[str, ...]

    assert WithMoreKinds(images=("persons", "strangers")).images == ("persons", "strangers")
    with pytest.raises(ValueError, match=r"two kinds at most: dvc\.yaml"):
        WithMoreKinds(images=("persons", "strangers", "variations"))


def test_no_file_no_yaml_no_mapping(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert "no parameter file" in complaint(path)
    path.write_text("a: [1,\nb: 2")
    assert "not YAML" in complaint(path)
    path.write_text("[1]")
    assert complaint(path) == f"{path}: must be keys with their values"
    path.write_text("gan: 1")
    assert complaint(path) == f"{path}: gan: must be keys with their values"
    for empty in ("", "# nothing\n"):
        path.write_text(empty)
        assert load_config(path) == Config()


@pytest.mark.parametrize("value", ["{2024-01-01: x}", "{? [a, b] : x}", "&a [*a]", "2024-01-01"])
@pytest.mark.parametrize("key", ["gan: {config: %s}", "gan: %s", "gan: {%s: 1}", "arms: %s"])
def test_whatever_yaml_can_hold_is_told_in_one_line(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(key % value)
    assert ": " in complaint(path)


def test_reasons_are_ours_without_the_librarys_words(tmp_path: Path) -> None:
    path = write(tmp_path, arms__far={"images": ["persons"], "batch_share": 0.06})
    assert complaint(path).startswith(f"{path}: arms.far: batch_share: 0.06")
    path = write(tmp_path, encoder__micro_batch=3)
    assert complaint(path) == f"{path}: encoder: batch_size must be a multiple of micro_batch"


EXTREMES = (
    *(-1, 0, 1, 2**31, 10**30, -0.5, 1.5, 1e-300, 1e300, float("nan"), float("inf")),
    *("", "no such", [], [[]], {}, None, True, False),
)


def fields(values: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every parameter by its path, sections included."""
    found = []
    for key, value in values.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += fields(value, (*path, key))
    return found


@pytest.mark.parametrize("path", fields(Config().model_dump(mode="json")), ids=".".join)
def test_an_extreme_value_is_refused_by_its_name_or_taken(path: tuple[str, ...]) -> None:
    """Nothing but a named, finite reason, whatever a parameter is set to."""
    for value in EXTREMES:
        values = Config().model_dump(mode="json")
        block = values
        for key in path[:-1]:
            block = block[key]
        block[path[-1]] = value
        try:
            config = parse_config(values, Path("params.yaml"))
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
            assert any(part in str(error) for part in (".".join(path), path[-1], path[0]))
            continue
        for number in flatten(config.model_dump(mode="json")).values():
            assert not isinstance(number, float | int) or abs(number) < 2**31  # and finite
        # Taken means: what is written is what is read.
        assert parse_config(config.model_dump(mode="json"), Path("params.yaml")) == config


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reid__batch_size": 1, "reid__micro_batch": 1}, "batch norm compares images in it"),
        ({"reid__batch_size": 65}, "batch_size must be a multiple of micro_batch"),
        ({"reid__epochs": True}, "epochs is a number, not true"),
        ({"reid__embedding_dim": True}, "embedding_dim is a number, not true"),
        ({"reid__last_stride": True}, "last_stride is a number, not true"),
        ({"reid__loss__triplet": True}, "triplet is a number, not true"),
        ({"reid__schedule__decay": [4, True]}, "decay is a number, not true"),
        ({"evaluate__ranks": [True]}, "ranks is a number, not true"),
        ({"filter__ssim_threshold": {"value": True}}, "value is a number, not true"),
        ({"gates__pass_rate": [False, True]}, "pass_rate is a number, not false"),
        ({"reid__learning_rate": float("nan")}, "reid.learning_rate: Input should be"),
        ({"encoder__micro_batch": 3}, "encoder: batch_size must be a multiple"),
        ({"encoder__l2": 0, "encoder__perceptual": 0, "encoder__identity": 0}, "nothing is learnt"),
        ({"gan__height": 8, "gan__width": 8}, "must be 16 or more"),
        ({"gan__channel_base": 127}, "at least twice the longer"),
        ({"gan__discriminator_channel_base": 127}, "at least twice the longer"),
        ({"gan__num_layers": 2}, "gan.num_layers: Input should be greater than 2"),
        ({"gan__start": "../mine.safetensors"}, "a file in weights/"),
        ({"data__validation_persons": 120}, "must leave some of the 120"),
        ({"filter__ssim_threshold": {"value": 1.1}}, "no image has more than 1"),
        ({"filter__detector_threshold": {"rejection_rate": 2}}, "rejection_rate"),
        ({"gates__pass_rate": [0.9, 0.1]}, "the smaller bound comes first"),
        ({"registry__model": "a/b"}, "registry.model: String should match pattern"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    assert reason in complaint(write(tmp_path, **changes))


def test_the_smallest_networks_that_are_accepted_can_be_built() -> None:
    small = {"height": 16, "width": 8, "z_dim": 1, "w_dim": 1, "channel_max": 1, "num_layers": 3}
    small |= {"channel_base": 32, "discriminator_channel_base": 32, "margin": 1}
    for kind in ("t", "r"):
        gan = build_gan(GanConfig(config=kind, discriminator_channel_max=1, **small), seed=1)
        images = gan.generator(torch.randn(4, 1))
        assert images.shape == (4, 3, 16, 8) and images.isfinite().all()
        assert gan.discriminator(images).isfinite().all()
    sizes = {"height": 8, "width": 8, "embedding_dim": 1, "batch_size": 2, "micro_batch": 2}
    net = new_reid(ReidConfig(**sizes), 2)
    assert net(torch.zeros(2, 3, 8, 8))[0].isfinite().all()


def test_what_a_whole_file_leaves_out_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    whole = Config(profile="mine").model_dump(mode="json")
    whole["filter"]["ssim_threshold"] = {"value": 0.5}  # one of two
    whole["arms"]["far"] = {"images": ["persons"]}
    whole["data"]["rendered"] = {"seed": 1}
    path.write_text(yaml.safe_dump(whole))
    rest = [name for name in RenderedConfig.model_fields if name != "seed"]
    assert f"has no {', '.join(f'data.rendered.{name}' for name in rest)}: def" in left_out(path)
    whole["data"]["rendered"] = Config().data.model_dump()["rendered"]
    path.write_text(yaml.safe_dump(whole))
    assert left_out(path) == ""
    del whole["seed"], whole["generate"]["height"], whole["gates"]
    path.write_text(yaml.safe_dump(whole))
    line = left_out(path)
    assert line.startswith(f"{path} has no seed, generate.height, gates: defaults are taken, and")
    assert line.endswith("copy the lines from `lookalike profile show mine`")
