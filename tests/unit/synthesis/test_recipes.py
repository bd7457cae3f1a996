from __future__ import annotations

import pytest

from lookalike.synthesis.recipes import PlannedImage, Recipe

RECIPES = [
    ("base", Recipe("base")),
    ("base:psi=0.8", Recipe("base", psi=0.8)),
    ("mix:medium:psi=0.7:with=17", Recipe("mix", group="medium", psi=0.7, partner="17")),
    ("interpolate:0.25:psi=1.0:with=9", Recipe("interpolate", amount=0.25, psi=1.0, partner="9")),
    ("base:psi=0.8:class=6", Recipe("base", psi=0.8, label="6")),
    (
        "mix:fine:psi=0.7:class=0002:with=17",
        Recipe("mix", group="fine", psi=0.7, partner="17", label="0002"),
    ),
    (
        "interpolate:0.4:with=0002_c1s1_000451_03",
        Recipe("interpolate", amount=0.4, partner="0002_c1s1_000451_03"),
    ),
    (
        "cross:structure:with=0002_c1s1_000451_03",
        Recipe("cross", group="structure", partner="0002_c1s1_000451_03"),
    ),
]


@pytest.mark.parametrize(("text", "recipe"), RECIPES)
def test_text_and_back(text: str, recipe: Recipe) -> None:
    assert str(recipe) == text
    assert Recipe.parse(text) == recipe


def test_classes_may_be_called_anything() -> None:
    recipe = Recipe("mix", group="medium", psi=0.8, partner="17", label="Ada: with=9, née Ü")
    assert Recipe.parse(str(recipe)) == recipe
    assert str(recipe).count("with=") == 1 and " " not in str(recipe)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stir",
        "mix:medium",
        "mix:with=3",
        "mix:bright:with=3",
        "cross:with=3",
        "interpolate:with=3",
    ],
)
def test_bad_recipes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="recipe"):
        Recipe.parse(text)


def test_plan_comes_back_from_a_row() -> None:
    plan = PlannedImage("a_var00", "a", Recipe("base"), seed=-1, source_image="a")
    row = {
        "image_id": "a_var00",
        "person_id": "a",
        "recipe": "base",
        "seed": -1,
        "source_image": "a",
    }
    assert PlannedImage.from_row(row) == plan
    assert plan.member == "a_var00.jpg"
