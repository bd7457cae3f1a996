from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lookalike.config import GenerateConfig
from lookalike.data.loading import encode_jpeg, load_images
from lookalike.device import one_thread_each
from lookalike.errors import UserError
from lookalike.inversion.encoder import Encoder
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis import rendering
from lookalike.synthesis.from_images import Inverter, latents_from_images, pixels_of, sources_of
from lookalike.synthesis.kinds.persons import (
    generate_dressed,
    generate_persons,
    person_latents,
    plan_dressed,
    plan_persons,
)
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.synthesis.rendering import Destination, Latents, Styles, _add, render


@pytest.fixture
def manifest(generator: Generator, generate: GenerateConfig, to: Destination) -> pd.DataFrame:
    return generate_persons(generator, generate.persons, generate, to)


def test_plan(generate: GenerateConfig) -> None:
    plans = plan_persons(generate.persons)
    assert [plan.person_id for plan in plans[::5]] == ["syn-000001", "syn-000002", "syn-000003"]
    assert [plan.seed for plan in plans[::5]] == [1000, 1001, 1002]
    kinds = ["base", "mix", "mix", "interpolate", "interpolate"]
    assert [plan.recipe.kind for plan in plans] == kinds * 3
    assert len({plan.image_id for plan in plans}) == 15
    partners = [plan.recipe.partner for plan in plans if plan.recipe.partner]
    assert len(set(partners)) == len(partners)
    assert all(plan.recipe.group == "medium" for plan in plans if plan.recipe.kind == "mix")


def test_more_persons_leave_the_others_alone(generate: GenerateConfig) -> None:
    more = generate.persons.model_copy(update={"count": 7})
    assert plan_persons(more)[:15] == plan_persons(generate.persons)


def test_manifest_describes_the_archive(manifest: pd.DataFrame, to: Destination) -> None:
    assert len(manifest) == 15
    assert set(manifest["split"]) == {"train"}
    assert set(manifest["origin"]) == {"person"}
    assert set(manifest["camera_id"]) == {0}
    images = load_images(manifest, to.root, 48, 24)
    assert len({image.tobytes() for image in images}) == 15
    with zipfile.ZipFile(to.root / to.archive) as file:
        assert file.namelist() == list(manifest["member"])
    assert [path.name for path in (to.root / to.archive).parent.iterdir()] == [to.archive.name]


def test_any_image_comes_back_from_its_row(
    manifest: pd.DataFrame, generator: Generator, come_back: Callable[..., None]
) -> None:
    come_back(manifest, lambda plans: person_latents(generator, plans), generator)


def test_two_runs_write_the_same_bytes(
    manifest: pd.DataFrame, generator: Generator, generate: GenerateConfig, to: Destination
) -> None:
    written = (to.root / to.archive).read_bytes()
    again = generate_persons(generator, generate.persons, generate, to)
    pd.testing.assert_frame_equal(manifest, again)
    assert (to.root / to.archive).read_bytes() == written


def test_several_processes_write_the_same_bytes(
    manifest: pd.DataFrame, generator: Generator, generate: GenerateConfig, to: Destination
) -> None:
    by_two(lambda to: generate_persons(generator, generate.persons, generate, to), manifest, to)


def test_any_number_of_threads_writes_the_same_bytes(
    manifest: pd.DataFrame, generator: Generator, generate: GenerateConfig, to: Destination
) -> None:
    written, before = (to.root / to.archive).read_bytes(), torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            again = generate_persons(generator, generate.persons, generate, to)
            assert torch.get_num_threads() == threads
            pd.testing.assert_frame_equal(manifest, again)
            assert (to.root / to.archive).read_bytes() == written
    finally:
        torch.set_num_threads(before)


def test_a_full_disk_leaves_the_threads_as_they_were(
    generator: Generator,
    generate: GenerateConfig,
    to: Destination,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: object, members: Iterator[object]) -> None:
        next(members)
        raise OSError("no space left")

    monkeypatch.setattr(rendering, "write_archive", full)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(OSError, match="no space left") as caught:
            generate_persons(generator, generate.persons, generate, to)
        assert caught.tb is not None, "held, and with it what the frames hold"
        assert torch.get_num_threads() == 3
        with one_thread_each() as threads:
            assert threads == 3
    finally:
        torch.set_num_threads(before)


def by_two(
    write: Callable[[Destination], pd.DataFrame], manifest: pd.DataFrame, to: Destination
) -> None:
    """Two processes, one after the other: the second first, as the main one merges."""
    expected = (to.root / to.archive).read_bytes()
    (to.root / to.archive).unlink()
    to.session.world = 2
    to.session.rank, to.session.is_main = 1, False
    with pytest.raises(FileNotFoundError):  # no archive yet: the main process merges
        write(to)
    to.session.rank, to.session.is_main = 0, True
    pd.testing.assert_frame_equal(manifest, write(to))
    assert (to.root / to.archive).read_bytes() == expected


def test_real_persons_take_turns_in_being_dressed(generate: GenerateConfig) -> None:
    images = {"0002": ["a", "b", "c"], "0004": ["alone"], "0007": ["d", "e"]}
    config = generate.persons.model_copy(update={"images_per_person": 2})
    plans = plan_dressed(images, config)
    persons = ["syn-000001", "syn-000002", "syn-000003"]
    assert [plan.person_id for plan in plans] == np.repeat(persons, 2).tolist()
    assert {plan.source_image for plan in plans[:2]} < set("abc")
    assert {plan.source_image for plan in plans[2:4]} == set("de")
    assert all(str(plan.seed) == plan.recipe.partner for plan in plans), "one seed dresses all"
    more = config.model_copy(update={"count": 7})
    assert plan_dressed(images, more)[: len(plans)] == plans
    fewer = config.model_copy(update={"images_per_person": 1})
    assert set(plan_dressed(images, fewer)) < set(plans)
    with pytest.raises(UserError, match="no train person has two images; set dressed: false"):
        plan_dressed({"0004": ["alone"]}, config)


def test_a_dressed_person_has_one_class(generate: GenerateConfig) -> None:
    classes = Classes("camera", ("1", "2", "6"), (5, 2, 1))
    more = generate.persons.model_copy(update={"count": 20})
    plans = plan_dressed({"0002": ["a", "b", "c"]}, more, classes)
    of_each = {plan.person_id: plan.recipe.label for plan in plans}
    assert len(of_each) == 20
    assert set(of_each.values()) == set(classes.names)
    assert all(of_each[plan.person_id] == plan.recipe.label for plan in plans)
    text = str(plans[0].recipe)
    assert ":detail:" in text and ":class=" in text
    assert Recipe.parse(text) == plans[0].recipe


@pytest.fixture
def dressed(
    two_codes: Encoder, sources: pd.DataFrame, generate: GenerateConfig, to: Destination
) -> pd.DataFrame:
    return generate_dressed(Inverter(two_codes), sources, generate.persons, generate, to)


def test_a_dressed_person_comes_back_from_its_rows(
    dressed: pd.DataFrame,
    two_codes: Encoder,
    sources: pd.DataFrame,
    come_back: Callable[..., None],
    to: Destination,
) -> None:
    assert dressed["person_id"].value_counts().tolist() == [3, 3, 3]
    assert set(dressed["origin"]) == {"person"}
    assert "0011" not in set(dressed["source_image"].str[:4]), "of one image"
    canvas, crops = (pixels_of(sources, to.root, *size) for size in ((32, 16), (48, 24)))
    come_back(
        dressed,
        lambda plans: latents_from_images(Inverter(two_codes), plans, canvas),
        two_codes.generator,
        sources_of(crops),
    )


def test_several_processes_dress_the_same(
    dressed: pd.DataFrame,
    two_codes: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    to: Destination,
) -> None:
    by_two(
        lambda to: generate_dressed(Inverter(two_codes), sources, generate.persons, generate, to),
        dressed,
        to,
    )


def test_an_encoder_of_one_code_dresses_nobody(
    encoder: Encoder, sources: pd.DataFrame, generate: GenerateConfig, to: Destination
) -> None:
    with pytest.raises(UserError, match=r"persons\.dressed: .* set encoder\.structure_styles to"):
        generate_dressed(Inverter(encoder), sources, generate.persons, generate, to)


def test_where_nothing_changes_all_detail_is_kept(
    two_codes: Encoder, sources: pd.DataFrame, generate: GenerateConfig, tmp_path: Path
) -> None:
    """x + G(w) - G(w) is x, whatever the generator can draw."""
    canvas, crops = (pixels_of(sources, tmp_path, *size) for size in ((32, 16), (48, 24)))
    plans = plan_dressed({"0002": list(sources["image_id"][:3])}, generate.persons)[:3]

    def unchanged(plans: Sequence[PlannedImage]) -> Styles:
        inverted = latents_from_images(Inverter(two_codes), plans, canvas).inverted
        assert inverted is not None
        return Styles(inverted, inverted)

    def draw(latents: Latents) -> list[bytes]:
        return render(plans, latents, two_codes.generator, generate, sources_of(crops))

    kept = draw(unchanged)
    assert kept == [encode_jpeg(crop) for crop in crops([plan.source_image for plan in plans])]
    dressed = draw(lambda plans: latents_from_images(Inverter(two_codes), plans, canvas))
    assert all(one != other for one, other in zip(kept, dressed, strict=True))


@pytest.mark.parametrize("size", [(8, 4), (32, 16)])  # of the canvas: smaller and larger
def test_a_change_is_added_where_it_is_and_in_its_channel(size: tuple[int, int]) -> None:
    """Images of -1 to 1 have 127.5 grey levels per unit; nothing leaves 0 to 255."""
    change = torch.zeros(1, 3, *size)
    change[:, 0, :, : size[1] // 2] = 0.4
    reals = np.full((1, 16, 8, 3), 100, np.uint8)
    (drawn,) = _add(change, reals)
    assert drawn[8, 1].tolist() == [pytest.approx(151, abs=1), 100, 100]
    assert drawn[8, 6].tolist() == [pytest.approx(100, abs=1), 100, 100]
    assert reals.max() == 100
    assert _add(torch.full((1, 3, *size), -2.0), reals).max() == 0
    assert _add(torch.full((1, 3, *size), 2.0), reals).min() == 255
