from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch

from lookalike.config import GenerateConfig
from lookalike.data.loading import to_tensor
from lookalike.errors import UserError
from lookalike.inversion.encoder import Encoder
from lookalike.synthesis.latents import layer_group
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import render
from lookalike.synthesis.variations import (
    check_crosses,
    detail_of,
    generate_variations,
    pixels_of,
    plan_variations,
    variation_latents,
)
from lookalike.training.session import Session

ARCHIVE = Path("images.zip")


def write(
    encoder: Encoder, sources: pd.DataFrame, generate: GenerateConfig, session: Session, root: Path
) -> pd.DataFrame:
    return generate_variations(
        encoder,
        sources,
        generate.variations,
        generate,
        generator_digest="g" * 64,
        archive=ARCHIVE,
        root=root,
        session=session,
    )


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
    config = generate.variations.model_copy(update={"group": "structure", "crosses": 1.0})
    taken = len(layer_group("structure", encoder.generator.num_ws))
    for read in (0, taken):
        monkeypatch.setattr(encoder, "structure_styles", read)
        check_crosses(encoder, config)
    monkeypatch.setattr(encoder, "structure_styles", taken + 1)
    with pytest.raises(UserError, match=f"set encoder.structure_styles to {taken}"):
        check_crosses(encoder, config)
    check_crosses(encoder, config.model_copy(update={"crosses": 0.0}))


def test_latents_are_what_recipes_say(
    encoder: Encoder, sources: pd.DataFrame, tmp_path: Path
) -> None:
    pixels = pixels_of(sources, tmp_path, 32, 16)
    names = list(sources["image_id"][:2])
    plans = [
        PlannedImage("x", "p", Recipe("base"), source_image=names[0]),
        PlannedImage("y", "p", Recipe("mix", "fine", psi=0.5, partner="4"), 4, names[0]),
        PlannedImage("z", "p", Recipe("interpolate", amount=0.4, partner=names[1]), -1, names[0]),
        PlannedImage("c", "p", Recipe("cross", "coarse", partner=names[1]), -1, names[0]),
    ]
    base, mixed, between, crossed = variation_latents(encoder, plans, pixels)
    first, second = encoder.invert(to_tensor(pixels(names)))
    fine = layer_group("fine", len(base))
    torch.testing.assert_close(base, first, rtol=0, atol=1e-4)
    torch.testing.assert_close(mixed[: fine.start], base[: fine.start])
    assert (mixed[fine.start :] - base[fine.start :]).abs().max() > 0.01
    torch.testing.assert_close(between, torch.lerp(first, second, 0.4), rtol=0, atol=1e-4)
    coarse = layer_group("coarse", len(base))
    torch.testing.assert_close(crossed[coarse.stop :], first[coarse.stop :], rtol=0, atol=1e-4)
    torch.testing.assert_close(crossed[: coarse.stop], second[: coarse.stop], rtol=0, atol=1e-4)


def test_any_variation_comes_back_from_its_row(
    encoder: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    session: Session,
    tmp_path: Path,
) -> None:
    manifest = write(encoder, sources, generate, session, tmp_path)
    assert manifest["person_id"].value_counts().to_dict() == {"0002": 5, "0007": 5, "0011": 5}
    assert set(manifest["origin"]) == {"variation"}
    assert set(manifest["source_image"]) <= set(sources["image_id"])
    pixels = pixels_of(sources, tmp_path, 32, 16)
    detail = detail_of(encoder, pixels, pixels_of(sources, tmp_path, 48, 24))
    assert manifest["recipe"].str.contains(":detail").sum() == 11, "all but the interpolations"
    with zipfile.ZipFile(tmp_path / ARCHIVE) as file:
        for row in manifest.to_dict("records"):
            (data,) = render(
                [PlannedImage.from_row(row)],
                lambda plans: variation_latents(encoder, plans, pixels),
                encoder.generator,
                generate,
                detail,
            )
            assert data == file.read(row["member"]), row["recipe"]


def test_two_runs_write_the_same_bytes(
    encoder: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    session: Session,
    tmp_path: Path,
) -> None:
    first = write(encoder, sources, generate, session, tmp_path)
    data = (tmp_path / ARCHIVE).read_bytes()
    shuffled = sources.iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, write(encoder, shuffled, generate, session, tmp_path))
    assert (tmp_path / ARCHIVE).read_bytes() == data


@pytest.mark.parametrize(("column", "value"), [("split", "query"), ("origin", "person")])
def test_only_real_training_images_are_sources(
    column: str,
    value: str,
    encoder: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    session: Session,
    tmp_path: Path,
) -> None:
    sources.loc[2, column] = value
    with pytest.raises(ValueError, match=f"first {sources['image_id'][2]}"):
        write(encoder, sources, generate, session, tmp_path)
