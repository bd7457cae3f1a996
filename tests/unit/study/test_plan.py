"""What `study.yaml` may say."""

from pathlib import Path

import pytest

from lookalike.config import Config, DataConfig
from lookalike.errors import UserError
from lookalike.profiles import compose
from lookalike.study.plan import Study, load_study

ROOT = Path(__file__).parents[3]


def load(text: str, folder: Path, config: Config | None = None) -> Study:
    path = folder / "study.yaml"
    path.write_text(text)
    return load_study(path, config or Config())


def test_the_shipped_study_fits_the_embedded_profile() -> None:
    config = compose("embedded", ROOT / "profiles")
    study = load_study(ROOT / "evidence" / "study.yaml", config)
    assert len(study.seeds) >= 5 and study.settings[0].name == "baseline"
    arms = {setting.arm: setting.config.policy for setting in study.settings}
    assert "persons" in arms
    for name in arms.keys() & config.arms.keys():
        assert arms[name] == config.arms[name].policy, "what is shown is what is used"


def test_a_list_of_limits_is_a_setting_each(tmp_path: Path) -> None:
    study = load(
        "seeds: [3]\nreid: {epochs: 20, schedule: {warm_up: 2}}\n"
        "arms: {few: {images: [persons], max_persons: [9, 4], label: own, weight: 0.5}}",
        tmp_path,
    )
    names = [setting.name for setting in study.settings]
    assert names == ["baseline", "few-4", "few-9"]
    few = study.settings[1].config
    assert (few.max_persons, few.label, few.weight, few.max_images_per_person) == (
        4,
        "own",
        0.5,
        None,
    )
    # What is not named stays as in the parameters.
    assert (study.reid.epochs, study.reid.schedule.warm_up) == (20, 2)
    assert study.reid.schedule.decay == Config().reid.schedule.decay


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arms: {}", "arms: Dictionary should have at least 1 item"),
        ("arms: {a: {}}", "arms.a: images: is missing"),
        ("arms: {a: {images: [persons], labels: own}}", "labels: no such parameter; did you mean"),
        ("arms: {a: {images: [none]}}", "arms.a: images: .none. is the baseline"),
        ("arms: {baseline: {images: [persons]}}", "baseline is always measured; leave it out"),
        ("arms: {a: {images: [persons], max_persons: []}}", "arms.a.max_persons"),
        (
            "arms: {a: {images: [persons], max_persons: [1], max_images_per_person: [1]}}",
            "arms.a: max_persons and max_images_per_person are both lists",
        ),
        ("arms: {a: {images: [persons], oracle: true, filtered: false}}", "meet no filter"),
        ("seeds: [1, 1]\narms: {a: {images: [persons]}}", "seeds: name each seed once"),
        ("seeds: []\narms: {a: {images: [persons]}}", "seeds: "),
        (
            "reid: {epoch: 1}\narms: {a: {images: [persons]}}",
            "reid: epoch: no such parameter",
        ),
        ("arms: {a: {images: [persons], real: [duke]}}", "arms.a: real: no data set duke"),
        (
            "reid: {epochs: 2}\narms: {a: {images: [persons], batch_share: 0.5, epochs: [0, 3]}}",
            "arms.a: epochs ends at 3, and reid.epochs is 2",
        ),
        ("colour: red", "colour: no such parameter; must be one of: seeds, "),
        ("- 1", "must be keys with their values"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load(text, tmp_path)
    assert "study.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_oracles_need_rendered_data(tmp_path: Path) -> None:
    config = Config(data=DataConfig(source="market1501"))
    with pytest.raises(UserError, match=r"arms\.a: oracle images are rendered.*market1501"):
        load("arms: {a: {images: [persons], oracle: true}}", tmp_path, config)
    with pytest.raises(UserError, match="no study at"):
        load_study(tmp_path / "nothing.yaml", config)
