from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from lookalike.config import GenerateConfig, VariationsConfig
from lookalike.errors import UserError
from lookalike.inversion.encoder import Encoder
from lookalike.synthesis.from_images import Inverter, latents_from_images, pixels_of, sources_of
from lookalike.synthesis.kinds.variations import (
    check_crosses,
    generate_variations,
    plan_variations,
)
from lookalike.synthesis.latents import layer_group
from lookalike.synthesis.rendering import Destination


def test_plan(generate: GenerateConfig) -> None:
    persons = {"0002": ["a", "b", "c"], "0007": ["d"]}
    plans = plan_variations(persons, generate.variations)
    assert [plan.source_image for plan in plans] == list("abcab") + ["d"] * 5
    assert [plan.recipe.kind for plan in plans[:5]] == ["cross", "mix", "mix", *["interpolate"] * 2]
    # One image: nothing to go to.
    assert [plan.recipe.kind for plan in plans[5:]] == ["cross", *["mix"] * 4]
    assert plans[0].recipe.partner == "d" and plans[5].recipe.partner in "abc"
    assert all(plan.recipe.partner in "bc" for plan in plans[3:4])
    assert all(plan.recipe.partner in "ac" for plan in plans[4:5])
    assert len({plan.image_id for plan in plans}) == 10


def test_whoever_is_alone_is_crossed_with_nobody(generate: GenerateConfig) -> None:
    plans = plan_variations({"0007": ["a", "b"]}, generate.variations)
    assert {plan.recipe.kind for plan in plans} == {"mix", "interpolate"}


def test_crosses_take_what_the_encoder_reads_as_structure(
    encoder: Encoder, generate: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = {"group": "structure", "crosses": 1.0, "detail": False}
    config = generate.variations.model_copy(update=way)
    taken = len(layer_group("structure", encoder.generator.num_ws))
    for read in (0, taken):
        monkeypatch.setattr(encoder, "structure_styles", read)
        check_crosses(encoder, config)
    monkeypatch.setattr(encoder, "structure_styles", taken + 1)
    with pytest.raises(UserError, match=f"set encoder.structure_styles to {taken}"):
        check_crosses(encoder, config)
    check_crosses(encoder, config.model_copy(update={"crosses": 0.0}))
    for detail in ({"detail": True}, {"detail": True, "crosses": 0.0}):
        with pytest.raises(UserError, match=f"set encoder.structure_styles to {taken}"):
            check_crosses(encoder, config.model_copy(update=detail))


@pytest.fixture
def manifest(
    encoder: Encoder, sources: pd.DataFrame, generate: GenerateConfig, to: Destination
) -> pd.DataFrame:
    return generate_variations(Inverter(encoder), sources, generate.variations, generate, to)


def test_any_variation_comes_back_from_its_row(
    manifest: pd.DataFrame,
    encoder: Encoder,
    sources: pd.DataFrame,
    come_back: Callable[..., None],
    to: Destination,
) -> None:
    assert manifest["person_id"].value_counts().to_dict() == {"0002": 5, "0007": 5, "0011": 5}
    assert set(manifest["origin"]) == {"variation"}
    assert set(manifest["source_image"]) <= set(sources["image_id"])
    assert manifest["recipe"].str.contains(":detail").sum() == 11, "all but the interpolations"
    canvas, crops = (pixels_of(sources, to.root, *size) for size in ((32, 16), (48, 24)))
    come_back(
        manifest,
        lambda plans: latents_from_images(Inverter(encoder), plans, canvas),
        encoder.generator,
        sources_of(crops),
    )


@pytest.mark.parametrize("crosses", [0.0, 1.0])
def test_a_variation_in_another_place_comes_back_from_its_row(
    crosses: float,
    two_codes: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    come_back: Callable[..., None],
    to: Destination,
) -> None:
    """The defaults: the place of another image or of a seed."""
    config = VariationsConfig(crosses=crosses, images_per_person=2)
    made = generate_variations(Inverter(two_codes), sources, config, generate, to)
    assert made["recipe"].str.contains(":structure:detail:around:").all()
    canvas, crops = (pixels_of(sources, to.root, *size) for size in ((32, 16), (48, 24)))
    come_back(
        made,
        lambda plans: latents_from_images(Inverter(two_codes), plans, canvas),
        two_codes.generator,
        sources_of(crops),
    )


def test_two_runs_write_the_same_bytes(
    manifest: pd.DataFrame,
    encoder: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    to: Destination,
) -> None:
    data = (to.root / to.archive).read_bytes()
    shuffled = sources.iloc[::-1].reset_index(drop=True)
    again = generate_variations(Inverter(encoder), shuffled, generate.variations, generate, to)
    pd.testing.assert_frame_equal(manifest, again)
    assert (to.root / to.archive).read_bytes() == data


@pytest.mark.parametrize(("column", "value"), [("split", "query"), ("origin", "person")])
def test_only_real_training_images_are_sources(
    column: str,
    value: str,
    encoder: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    to: Destination,
) -> None:
    sources.loc[2, column] = value
    with pytest.raises(ValueError, match=f"first {sources['image_id'][2]}"):
        generate_variations(Inverter(encoder), sources, generate.variations, generate, to)
