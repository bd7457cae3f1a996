"""The stage from manifest to generator: labels by name, reals at the size that is generated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pipelines import train_gan
from pipelines.stage import BASELINE_MODEL, GENERATOR, MANIFEST, Stage

from lookalike.config import Config, GanConfig
from lookalike.data.loading import Images, encode_jpeg, load_images
from lookalike.data.manifest import new_manifest, write_manifest
from lookalike.files import sha256_file
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.stylegan3.classes import Classes
from lookalike.tracking import NullTracker


class Means:
    """Features that keep what they are asked for: the mean colour."""

    name, kernel_name, dim, digest = "frechet_reid", "kernel_reid", 3, "means"

    def __init__(self) -> None:
        self.seen: list[Images] = []

    def __call__(self, images: Images) -> np.ndarray:
        self.seen.append(images)
        return images.mean((1, 2)).astype(np.float32)


def rows(folder: Path) -> pd.DataFrame:
    """Eight crops of noise at 24x12, of three cameras, and one that is not for training."""
    draw, made = np.random.default_rng(0), []
    for index, camera in enumerate([1, 6, 1, 1, 3, 1, 1, 6, 2]):
        path = folder / f"{index}.jpg"
        path.write_bytes(encode_jpeg(draw.integers(0, 256, (24, 12, 3), dtype=np.uint8)))
        row = {"image_id": path.stem, "person_id": f"{index // 4:04d}", "camera_id": camera}
        row |= {"split": "val" if camera == 2 else "train", "origin": "real", "member": path.name}
        made.append({**row, "width": 12, "height": 24, "sha256": sha256_file(path)})
    return new_manifest(made)


@pytest.mark.parametrize(
    ("condition", "classes", "samples"),
    [
        ("none", None, "full"),
        ("camera", Classes("camera", ("1", "3", "6"), (5, 1, 2)), 4),
        ("person", Classes("person", ("0000", "0001"), (4, 4)), 4),
    ],
)
def test_conditions_and_samples(
    condition: str,
    classes: Classes | None,
    samples: int | str,
    config: GanConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = rows(tmp_path)
    write_manifest(manifest, MANIFEST)
    BASELINE_MODEL.parent.mkdir(parents=True)
    BASELINE_MODEL.touch()
    whole = Config()
    small = whole.generate.model_copy(update={"height": 24, "width": 12})
    gan = config.model_copy(update={"condition": condition, "total_images": 4})
    gan = gan.model_copy(update={"distance_samples": samples})
    means = Means()
    monkeypatch.setattr(train_gan, "features", lambda *_: means)
    settings = whole.model_copy(update={"gan": gan, "generate": small})
    stage = Stage("train_gan", settings, NullTracker())
    stage.folder.mkdir(parents=True)
    train_gan.work(stage)

    assert load_generator(GENERATOR).classes == classes
    reals = load_images(manifest[manifest["split"] == "train"], tmp_path, 24, 12)
    assert np.array_equal(means.seen[0], reals), "not by way of the canvas of 16x8"
    assert {images.shape[1:] for images in means.seen} == {(24, 12, 3)}
    # At both measurements; full: as many as there are images to train on.
    assert [len(i) for i in means.seen[1:]] == [8 if samples == "full" else 4] * 2
    history = pd.read_csv(stage.folder / "history.csv")
    assert list(history["images"]) == [0, 4]
    assert list(history.columns)[-1] == "frechet_reid"
    assert len(list((stage.folder / "samples").glob("*.png"))) == 2
