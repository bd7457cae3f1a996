"""The stage that trains an arm: from manifests and the baseline to a model with its classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pipelines import train_reid as stage_module
from pipelines.added import added_manifests
from pipelines.stage import BASELINE_MODEL, MANIFEST, Stage

from lookalike.config import ArmConfig, Config, ReidConfig
from lookalike.data.manifest import new_manifest, read_manifest, write_manifest
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.reid.model import new_reid, read_classes, save_reid
from lookalike.tracking import NullTracker


def row(person: str, number: int, split: str, origin: str = "real") -> dict[str, object]:
    """A row of a picture that is written here."""
    path = Path(f"{origin}-{split}-{person}-{number}.png")
    pixels = np.random.default_rng(number).integers(0, 256, (32, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return {
        "image_id": path.stem,
        "person_id": person,
        "camera_id": 1 + number % 2,
        "split": split,
        "origin": origin,
        "member": path.name,
        "width": 16,
        "height": 32,
        "sha256": sha256_file(path),
    }


@pytest.fixture
def stage(config: ReidConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Two train persons, two validation persons, and three variations of a train person."""
    monkeypatch.chdir(tmp_path)
    split = {"0001": "train", "0002": "train", "0003": "val", "0004": "val"}
    real = [row(person, n, where) for person, where in split.items() for n in range(4)]
    write_manifest(new_manifest(real), MANIFEST)
    arm = ArmConfig(images=["variations"], label="soft", batch_share=0.5, weight=0.5)
    (made,) = added_manifests(arm)
    write_manifest(new_manifest([row("0001", n, "train", "variation") for n in range(3)]), made)
    save_reid(BASELINE_MODEL, new_reid(config, 2), config, ["0001", "0002"])
    arms = {**Config().arms, "soft": arm}
    changed = {"reid": config.model_copy(update={"epochs": 1}), "arms": arms}
    return Stage("train_reid@soft", Config().model_copy(update=changed), NullTracker())


def test_an_arm_with_soft_labels_trains_on_the_real_persons(stage: Stage) -> None:
    stage.folder.mkdir(parents=True)
    stage_module.work(stage, "soft")
    assert read_classes(stage.folder / "model.safetensors") == ["0001", "0002"]
    assert len(read_manifest(stage.folder / "trained_on.parquet")) == 8 + 3


def test_a_baseline_of_other_persons_is_refused(stage: Stage) -> None:
    torch.manual_seed(0)
    reid = stage.config.reid
    save_reid(BASELINE_MODEL, new_reid(reid, 2), reid, ["0001", "0009"])
    with pytest.raises(UserError, match="such as 0009"):
        stage_module.work(stage, "soft")


def test_filters_that_kept_nothing_are_named(stage: Stage) -> None:
    (made,) = added_manifests(stage.config.arms["soft"])
    write_manifest(read_manifest(made).head(0), made)
    with pytest.raises(UserError, match="kept nothing for arms") as caught:
        stage_module.work(stage, "soft")
    assert str(made) in str(caught.value) and "take variations out of" in str(caught.value)
