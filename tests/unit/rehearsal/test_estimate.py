from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.data.layouts.layout import Found
from lookalike.profiles import compose
from lookalike.rehearsal.estimate import amounts, crop_cache_bytes, data_counts, seconds
from lookalike.rehearsal.stages import stages_of
from lookalike.rehearsal.watch import Work

ROOT = Path(__file__).parents[3]


@pytest.fixture
def config():
    return compose("market1501", ROOT / "profiles")


def test_the_real_run_has_the_studys_amounts(config) -> None:
    counts = data_counts(config, [])
    of = amounts(config, counts)
    assert set(of) == set(stages_of(config))
    assert of["prepare"] == {"read images": 12_936 + 3_368 + 13_115 + 2_798 + 3_819}
    assert of["train_gan"]["train_gan"] == config.gan.total_images
    assert of["generate@persons"] == {"generate persons": 20_451}
    train = 12_936 - 12_936 * 100 // 751
    assert of["train_encoder"]["cross"] == of["train_encoder"]["reconstruct"] == 12_936 - train
    assert of["train_reid@baseline"]["train re-ID"] == config.reid.epochs * train
    added = of["train_reid@persons"]["decode train"] - train
    assert added == pytest.approx(320 * 51 * 0.85, rel=0.01)  # arms.persons.max_persons
    assert of["train_reid@variations"]["decode train"] - train == 651 * 5
    assert 5e9 < crop_cache_bytes(config, counts) < 20e9


def test_a_step_without_generated_images_is_shorter() -> None:
    """At a share of one half, half as long: in three quarters of the steps, 5/8 of the time."""
    config = compose("embedded", ROOT / "profiles")
    early_arm = config.arms["persons"].model_copy(update={"epochs": (0, 10)})
    config = config.model_copy(update={"arms": config.arms | {"early": early_arm}})
    of = amounts(config, data_counts(config, []))
    always, early = (of[f"train_reid@{arm}"]["train re-ID"] for arm in ("persons", "early"))
    assert config.reid.epochs == 40
    assert always == of["train_reid@baseline"]["train re-ID"]
    assert early == pytest.approx(5 / 8 * always, abs=1)


def test_what_is_rendered_is_counted_or_reckoned() -> None:
    config = compose("embedded", ROOT / "profiles")
    assert data_counts(config, [])["train"] == (1200, 120)
    found = [Found(Path("a.jpg"), "train", "0002", 1, "a")]
    assert data_counts(config, found)["train"] == (1, 1)


def test_time_grows_with_what_is_counted_and_the_rest_stays() -> None:
    work = {"embed": Work(10, 2.0, 0.1), "another": Work(5, 3.0, 0.5)}
    assert seconds(work, outside=7.0, amount={"embed": 1000}) == pytest.approx(7 + 100 + 3)


def test_latents_take_as_many_steps_as_they_will() -> None:
    """Rehearsed with two steps each; and what they draw is looked at beside the encoder's."""
    config = compose("embedded", ROOT / "profiles")
    plain = amounts(config, data_counts(config, []))["train_encoder"]
    encoder = config.encoder.model_copy(update={"latent_steps": 100})
    longer = config.model_copy(update={"encoder": encoder})
    of = amounts(longer, data_counts(config, []))["train_encoder"]
    assert plain["fit latents"] == 0
    assert of["fit latents"] == 50 * plain["decode"]
    assert of["embed"] == 2 * plain["embed"]
