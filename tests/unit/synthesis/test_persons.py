from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lookalike.config import GenerateConfig
from lookalike.data.loading import encode_jpeg, load_images
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.inversion.encoder import Encoder
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.persons import (
    generate_dressed,
    generate_persons,
    person_latents,
    plan_dressed,
    plan_persons,
)
from lookalike.synthesis.recipes import PlannedImage
from lookalike.synthesis.rendering import _add, render
from lookalike.synthesis.variations import detail_of, pixels_of, variation_latents
from lookalike.training.session import Session

ARCHIVE = Path("artifacts/images.zip")


@pytest.fixture
def manifest(
    generator: Generator, generate: GenerateConfig, session: Session, tmp_path: Path
) -> pd.DataFrame:
    return write(generator, generate, session, tmp_path)


def write(
    generator: Generator, generate: GenerateConfig, session: Session, root: Path
) -> pd.DataFrame:
    return generate_persons(
        generator,
        generate.persons,
        generate,
        generator_digest="g" * 64,
        archive=ARCHIVE,
        root=root,
        session=session,
    )


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


def test_manifest_describes_the_archive(manifest: pd.DataFrame, tmp_path: Path) -> None:
    assert len(manifest) == 15
    assert set(manifest["split"]) == {"train"}
    assert set(manifest["origin"]) == {"person"}
    assert set(manifest["camera_id"]) == {0}
    images = load_images(manifest, tmp_path, 48, 24)
    assert len({image.tobytes() for image in images}) == 15
    with zipfile.ZipFile(tmp_path / ARCHIVE) as file:
        assert file.namelist() == list(manifest["member"])
    assert [path.name for path in (tmp_path / ARCHIVE).parent.iterdir()] == [ARCHIVE.name]


def test_any_image_comes_back_from_its_row(
    manifest: pd.DataFrame, generator: Generator, generate: GenerateConfig, tmp_path: Path
) -> None:
    write_manifest(manifest, tmp_path / "manifest.parquet")
    rows = read_manifest(tmp_path / "manifest.parquet").to_dict("records")
    with zipfile.ZipFile(tmp_path / ARCHIVE) as file:
        for row in rows:
            plan = PlannedImage.from_row(row)
            (data,) = render(
                [plan], lambda plans: person_latents(generator, plans), generator, generate
            )
            assert data == file.read(row["member"]), row["recipe"]


def test_two_runs_write_the_same_bytes(
    manifest: pd.DataFrame,
    generator: Generator,
    generate: GenerateConfig,
    session: Session,
    tmp_path: Path,
) -> None:
    again = write(generator, generate, session, tmp_path / "again")
    pd.testing.assert_frame_equal(manifest, again)
    assert (tmp_path / ARCHIVE).read_bytes() == (tmp_path / "again" / ARCHIVE).read_bytes()


def test_several_processes_write_the_same_bytes(
    manifest: pd.DataFrame,
    generator: Generator,
    generate: GenerateConfig,
    session: Session,
    tmp_path: Path,
) -> None:
    """Two processes, one after the other: the second first, as the main one merges."""
    root = tmp_path / "two"
    session.world = 2
    session.rank, session.is_main = 1, False
    with pytest.raises(FileNotFoundError):  # no archive yet: the main process merges
        write(generator, generate, session, root)
    session.rank, session.is_main = 0, True
    merged = write(generator, generate, session, root)
    pd.testing.assert_frame_equal(manifest, merged)
    assert (tmp_path / ARCHIVE).read_bytes() == (root / ARCHIVE).read_bytes()


def test_real_persons_take_turns_in_being_dressed(generate: GenerateConfig) -> None:
    images = {"0002": ["a", "b", "c"], "0007": ["d"]}
    config = generate.persons.model_copy(update={"images_per_person": 2})
    plans = plan_dressed(images, config)
    assert [plan.person_id for plan in plans] == ["syn-000001"] * 2 + ["syn-000002"] + [
        "syn-000003"
    ] * 2
    assert [len({p.source_image for p in plans if p.seed == seed}) for seed in (1000, 1001)] == [
        2,
        1,
    ]
    assert {plan.source_image for plan in plans[:2]} < set("abc")
    assert all(str(plan.seed) == plan.recipe.partner for plan in plans), "one seed dresses all"
    more = config.model_copy(update={"count": 7})
    assert plan_dressed(images, more)[: len(plans)] == plans
    fewer = config.model_copy(update={"images_per_person": 1})
    assert set(plan_dressed(images, fewer)) < set(plans)


def test_a_dressed_person_comes_back_from_its_rows(
    encoder: Encoder,
    sources: pd.DataFrame,
    generate: GenerateConfig,
    session: Session,
    tmp_path: Path,
) -> None:
    manifest = generate_dressed(
        encoder,
        sources,
        generate.persons,
        generate,
        generator_digest="g" * 64,
        archive=ARCHIVE,
        root=tmp_path,
        session=session,
    )
    assert manifest["person_id"].value_counts().to_dict() == {
        "syn-000001": 3,
        "syn-000002": 3,
        "syn-000003": 1,
    }
    assert set(manifest["origin"]) == {"person"}
    canvas, crops = (pixels_of(sources, tmp_path, *size) for size in ((32, 16), (48, 24)))
    with zipfile.ZipFile(tmp_path / ARCHIVE) as file:
        for row in manifest.to_dict("records"):
            (data,) = render(
                [PlannedImage.from_row(row)],
                lambda plans: variation_latents(encoder, plans, canvas),
                encoder.generator,
                generate,
                detail_of(encoder, canvas, crops),
            )
            assert data == file.read(row["member"]), row["recipe"]


def test_where_nothing_changes_all_detail_is_kept(
    encoder: Encoder, sources: pd.DataFrame, generate: GenerateConfig, tmp_path: Path
) -> None:
    """x + G(w) - G(w) is x, whatever the generator can draw."""
    canvas, crops = (pixels_of(sources, tmp_path, *size) for size in ((32, 16), (48, 24)))
    detail = detail_of(encoder, canvas, crops)
    plans = plan_dressed({"0002": list(sources["image_id"][:3])}, generate.persons)[:3]
    drawn = render(plans, detail.inversions, encoder.generator, generate, detail)
    names = [plan.source_image for plan in plans]
    assert drawn == [encode_jpeg(crop) for crop in crops(names)]
    dressed = render(
        plans,
        lambda some: variation_latents(encoder, some, canvas),
        encoder.generator,
        generate,
        detail,
    )
    assert all(one != other for one, other in zip(drawn, dressed, strict=True))


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
