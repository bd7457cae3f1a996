"""The stage that generates: its sheet shows a row per person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pipelines import generate as stage_module
from pipelines.stage import GENERATOR, Stage

from lookalike.config import Config, GenerateConfig
from lookalike.data.loading import Images, load_images
from lookalike.data.manifest import read_manifest
from lookalike.report.figures import FRAME, GAP
from lookalike.tracking import NullTracker


def rows_of(sheet: Path, height: int, width: int) -> list[Images]:
    """The crops of each row of a sheet; empty slots are white."""
    pixels = np.asarray(Image.open(sheet).convert("RGB"))
    high, wide = height + 2 * FRAME + GAP, width + 2 * FRAME + GAP
    assert ((pixels.shape[0] - GAP) % high, (pixels.shape[1] - GAP) % wide) == (0, 0)
    slots = pixels[GAP:, GAP:].reshape(-1, high, (pixels.shape[1] - GAP) // wide, wide, 3)
    return list(slots[:, FRAME : FRAME + height, :, FRAME : FRAME + width].transpose(0, 2, 1, 3, 4))


@pytest.mark.parametrize(("images", "columns"), [(5, 5), (12, stage_module.SHOWN_IMAGES)])
def test_the_sheet_has_a_row_per_person(
    images: int,
    columns: int,
    generate: GenerateConfig,
    generator_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    GENERATOR.parent.mkdir(parents=True)
    generator_file.rename(GENERATOR)
    persons = generate.persons.model_copy(update={"images_per_person": images, "dressed": False})
    config = Config().model_copy(
        update={"generate": generate.model_copy(update={"persons": persons})}
    )
    stage = Stage("generate@persons", config, NullTracker())
    stage_module.work(stage, "persons")

    manifest = read_manifest(stage.folder / "manifest.parquet")
    rows = rows_of(stage.folder / "sheet.png", generate.height, generate.width)
    groups = [group for _, group in manifest.groupby("person_id")]
    assert len(rows) == len(groups) == generate.persons.count
    for row, group in zip(rows, groups, strict=True):
        drawn = load_images(group.head(columns), tmp_path, generate.height, generate.width)
        assert np.array_equal(row, drawn)
