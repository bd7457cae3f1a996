"""The stage that filters: what it keeps can be trained on, what it found can be drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pipelines import filter as stage_module
from pipelines.stage import BASELINE_MODEL, MANIFEST, Stage

from lookalike.artifacts import ARTIFACTS
from lookalike.config import ArmConfig, Config
from lookalike.data.manifest import new_manifest, read_manifest, write_manifest
from lookalike.data.scores import read_scores, score_names
from lookalike.files import sha256_file
from lookalike.reid.model import new_reid, save_reid
from lookalike.report.overview import draw_overview
from lookalike.report.results import read_results
from lookalike.synthesis.arms import select
from lookalike.tracking import NullTracker


def row(person: str, number: int, split: str, origin: str, seed: int) -> dict[str, object]:
    """A row of a picture that is written here."""
    path = Path(f"{origin}-{split}-{person}-{number}.png")
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return {
        "image_id": path.stem,
        "person_id": person,
        "camera_id": 1,
        "split": split,
        "origin": origin,
        "member": path.name,
        "width": 16,
        "height": 32,
        "sha256": sha256_file(path),
    }


def test_kept_rows_are_a_manifest_and_scores_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = Config()
    anything = shipped.filter.ssim_threshold.model_validate({"value": -100})
    names = [f"{name}_threshold" for name in ("detector", "realism", "novelty", "identity", "ssim")]
    config = shipped.model_copy(
        update={
            "filter": shipped.filter.model_copy(update=dict.fromkeys(names, anything)),
            "generate": shipped.generate.model_copy(update={"height": 32, "width": 16}),
        }
    )
    torch.manual_seed(0)
    reid = config.reid.model_copy(update={"height": 32, "width": 16})
    save_reid(BASELINE_MODEL, new_reid(reid, 2), reid, ["0001", "0002"])
    real = [
        row(person, number, split, "real", 10 * int(person) + number)
        for person, split in (("0001", "train"), ("0002", "val"))
        for number in range(3)
    ]
    write_manifest(new_manifest(real), MANIFEST)
    seeds = (100, 101, 100)  # the third is the first once more
    made = [row("syn-1", n, "train", "person", seed) for n, seed in enumerate(seeds)]
    write_manifest(new_manifest(made), ARTIFACTS.generate("persons").manifest)

    stage = Stage("filter@persons", config, NullTracker())
    stage_module.work(stage, "persons")

    kept = read_manifest(stage.folder / "manifest.parquet")
    pd.testing.assert_frame_equal(select(kept, ArmConfig(images=["persons"])), kept)
    assert kept["image_id"].tolist() == [made[0]["image_id"], made[1]["image_id"]]
    scores = read_scores(stage.folder / "scores.parquet")
    assert scores["image_id"].tolist() == [r["image_id"] for r in made]
    assert scores["reason"].tolist() == ["", "", "duplicate"]
    assert score_names(scores) == ["detector", "realism", "novelty", "identity", "ssim"]
    results = read_results(ARTIFACTS, [])
    assert results.filters == {"persons": {"kept": 2, "duplicate": 1}}
    draw_overview(ARTIFACTS, [], tmp_path / "overview")
    drawn = {path.name for path in (tmp_path / "overview").iterdir()}
    assert drawn == {"filter_scores.png", "filter_bounds.png"}
