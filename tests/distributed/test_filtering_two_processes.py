"""Two gloo processes share the work of the stage that filters."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from lookalike.config import Config, ReidConfig
from lookalike.data.manifest import new_manifest, write_manifest
from lookalike.files import sha256_file
from lookalike.reid.model import new_reid, save_reid

GENERATED, TRAIN, VAL = 75, 66, 9  # two shares each, but none of them even
PER_PERSON = 3
ALIKE = 10  # persons whose images show the same, more or less


def project(folder: Path) -> None:
    """What the stage filter@persons reads: every filter is on, and there are near-copies."""
    params = Config().model_dump(mode="json")
    params["generate"] |= {"height": 32, "width": 16}
    for name in ("detector", "realism", "novelty", "identity", "ssim"):
        params["filter"][f"{name}_threshold"] = {"value": -100.0}
    # What one process has found decides what the next step of all of them looks at.
    params["filter"] |= {"detector_threshold": {"rejection_rate": 0.3}, "duplicate_similarity": 0.9}
    (folder / "data").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    rng = np.random.default_rng(0)

    def rows(count: int, split: str, origin: str) -> list[dict[str, object]]:
        made = []
        for number in range(count):
            path = folder / "data" / f"{origin}-{split}-{number:03d}.png"
            if number % PER_PERSON == 0 or number // PER_PERSON >= ALIKE:
                pixels = rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels ^ (number % 2)).save(path)  # grey levels one up or down
            made.append(
                {
                    "image_id": path.stem,
                    "person_id": f"{origin}-{split}-{number // PER_PERSON}",
                    "camera_id": 1,
                    "split": split,
                    "origin": origin,
                    "member": f"data/{path.name}",
                    "width": 16,
                    "height": 32,
                    "sha256": sha256_file(path),
                }
            )
        return made

    real = new_manifest(rows(VAL, "val", "real") + rows(TRAIN, "train", "real"))
    write_manifest(real, folder / "artifacts/validate/manifest.parquet")
    generated = new_manifest(rows(GENERATED, "train", "person"))
    write_manifest(generated, folder / "artifacts/generate/persons/manifest.parquet")
    config = ReidConfig(height=32, width=16, embedding_dim=8)
    torch.manual_seed(0)
    model = folder / "artifacts/train_reid/baseline/model.safetensors"
    save_reid(model, new_reid(config, 2), config, ["a", "b"])


@pytest.mark.distributed
def test_the_stage_under_a_launcher_writes_the_same_bytes(by_one_and_by_two) -> None:  # type: ignore[no-untyped-def]
    written, said = by_one_and_by_two("filter", "persons", project)
    assert written.keys() >= {"manifest.parquet", "scores.parquet", "summary.json"}
    assert said.count("filter@persons: kept") == 1, said
    scores = pd.read_parquet(BytesIO(written["scores.parquet"]))
    assert set(scores["reason"]) == {"", "detector", "duplicate"}
    # Each process has looked at its share: 75 images are 64 and 11, 25 persons are 12 and 13.
    for bar in ("features", "detector: hog"):
        assert f"{bar}: 64/64" in said and f"{bar}: 11/11" in said, said
    assert "ssim: 36/36" in said and "ssim: 39/39" in said, said
    assert "near-copies: 12/12" in said and "near-copies: 13/13" in said, said
