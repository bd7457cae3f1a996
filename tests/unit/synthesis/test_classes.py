"""Conditional generators: which class an image is of, and that its recipe says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lookalike.config import GenerateConfig
from lookalike.data.manifest import read_manifest
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.stylegan3.checkpoint import export_generator, load_generator
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.album import Album, Picture, draw
from lookalike.synthesis.explore import draw_mixes, draw_seeds
from lookalike.synthesis.folder import CropSize, generate_from_seeds
from lookalike.synthesis.kinds.persons import generate_persons, person_latents, plan_persons
from lookalike.synthesis.latents import ws_from_seeds, z_from_seed
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import Destination, render
from lookalike.training.model_file import load_model

PERSONS = Classes("person", ("0002", "0007", "0011"), (4, 4, 4))


@pytest.fixture
def conditional(conditional_file: Path) -> Generator:
    return load_generator(conditional_file)


def test_seeds_draw_a_class_unless_they_are_given_one(conditional: Generator) -> None:
    classes = conditional.classes
    assert classes is not None
    names = [classes.name_of_seed(seed) for seed in range(200)]
    assert 90 < names.count("1") < 150, "five of eight training images"
    assert set(names) == {"1", "2", "6"}
    z = torch.stack([z_from_seed(seed, 8) for seed in (3, 4)])
    with torch.no_grad():
        sixth = conditional.mapping(z, labels=torch.tensor([2, 2]))
        drawn = conditional.mapping(z, labels=torch.tensor([classes.label(n) for n in names[3:5]]))
    torch.testing.assert_close(ws_from_seeds(conditional, [3, 4], [1.0, 1.0], ["6", "6"]), sixth)
    torch.testing.assert_close(ws_from_seeds(conditional, [3, 4], [1.0, 1.0]), drawn)


def test_a_new_person_walks_from_camera_to_camera(
    conditional: Generator,
    generate: GenerateConfig,
    come_back: Callable[..., None],
    to: Destination,
) -> None:
    manifest = generate_persons(conditional, generate.persons, generate, to)
    plans = [PlannedImage.from_row(row) for row in manifest.to_dict("records")]
    assert {plan.recipe.label for plan in plans} == {"1", "2", "6"}
    assert len({plan.recipe.label for plan in plans[:5]}) > 1
    assert manifest["recipe"].str.contains(":class=").all()
    plain = [replace(plan, recipe=replace(plan.recipe, label="")) for plan in plans]
    assert plain == plan_persons(generate.persons), "the class is all that is added"
    come_back(manifest, lambda some: person_latents(conditional, some), conditional)


def test_a_person_s_images_are_of_one_person_s_class(generate: GenerateConfig) -> None:
    more = generate.persons.model_copy(update={"count": 20})
    labels = np.array([plan.recipe.label for plan in plan_persons(more, PERSONS)]).reshape(20, 5)
    assert (labels == labels[:, :1]).all()
    assert set(labels[:, 0]) == set(PERSONS.names)


def test_pictures_of_a_class(conditional_file: Path, tmp_path: Path) -> None:
    generator = load_generator(conditional_file)
    draw_seeds(Album(conditional_file, tmp_path / "six", "seeds", "6"), [3, 4], 0.8)
    draw_mixes(Album(conditional_file, tmp_path / "six", "mix", "6"), [3], [4], ["fine"], 0.8)
    for name in ("seeds", "mix"):
        entries = json.loads((tmp_path / "six" / f"{name}.json").read_text())["pictures"]
        assert entries
        assert all(":class=6" in entry["recipe"] for entry in entries)
    assert generator.classes is not None
    names = ("", generator.classes.name_of_seed(3), "1", "6")
    pictures = [draw(generator, Picture(3, Recipe("base", psi=0.8, label=n))) for n in names]
    assert np.array_equal(pictures[0], pictures[1])
    assert (pictures[2] != pictures[3]).any()
    with pytest.raises(UserError, match="no class '9': the generator knows camera 1, 2, 6"):
        Album(conditional_file, tmp_path / "nine", "seeds", "9")


def test_an_unconditional_generator_has_no_classes(generator_file: Path, tmp_path: Path) -> None:
    for work in (
        lambda: Album(generator_file, tmp_path / "out", "seeds", "6"),
        lambda: generate_from_seeds(generator_file, [1], tmp_path / "out", psi=0.8, name="6"),
    ):
        with pytest.raises(UserError, match="no class '6': the generator has no classes"):
            work()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "2"])
def test_new_images_of_an_exported_generator(
    conditional_file: Path, tmp_path: Path, name: str
) -> None:
    """Nothing but the file is needed, and every image comes back from its row."""
    exported, output = tmp_path / "alone.safetensors", tmp_path / "deep" / "out"
    export_generator(conditional_file, exported)
    manifest = generate_from_seeds(exported, [5, 0, 1, 5], output, psi=0.7, name=name)
    assert list(manifest["member"]) == ["seed000005.jpg", "seed000000.jpg", "seed000001.jpg"]
    assert len(set(manifest["person_id"])) == 3
    assert set(manifest["generator"]) == {sha256_file(exported)}
    generator = load_generator(exported)
    for row in read_manifest(output / "manifest.parquet").to_dict("records"):
        plan = PlannedImage.from_row(row)
        assert plan.recipe == Recipe("base", psi=0.7, label=name)
        (data,) = render(
            [plan], lambda some: person_latents(generator, some), generator, CropSize(32, 16)
        )
        assert data == (output / plan.member).read_bytes()


def test_an_export_is_the_generator_and_says_where_it_comes_from(
    conditional_file: Path, tmp_path: Path
) -> None:
    exported = tmp_path / "alone.safetensors"
    export_generator(conditional_file, exported)
    saved = load_model(exported, "stylegan3")
    assert all(name.startswith("generator.") for name in saved.tensors)
    assert "discriminator" not in saved.architecture
    assert saved.recipe == {
        "licence": "for tests",
        "exported_from": "conditional.safetensors",
        "exported_from_sha256": sha256_file(conditional_file),
    }
    ours, theirs = (load_generator(path) for path in (exported, conditional_file))
    assert (ours.config, ours.classes) == (theirs.config, theirs.classes)
    assert all(torch.equal(t, theirs.state_dict()[n]) for n, t in ours.state_dict().items())
    with pytest.raises(UserError, match="it is the checkpoint itself"):
        export_generator(exported, exported)


def test_other_conditions_are_no_trouble(
    tiny_generator: Callable[..., Generator], generate: GenerateConfig
) -> None:
    generator = tiny_generator(1, PERSONS)
    ws = person_latents(generator, plan_persons(generate.persons, PERSONS)[:5]).ws
    assert ws.shape == (5, generator.num_ws, 8)
