"""Two gloo processes share the features and scores of the stage that filters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lookalike.config import Config, ReidConfig
from lookalike.data.manifest import new_manifest, write_manifest
from lookalike.files import sha256_file
from lookalike.reid.model import new_reid, save_reid

GENERATED, TRAIN, VAL = 75, 66, 9  # two shares each, but none of them even


def project(folder: Path) -> None:
    """What the stage filter@persons reads, with every filter on that looks at a network's work."""
    params = Config().model_dump(mode="json")
    params["generate"] |= {"height": 32, "width": 16}
    for name in ("detector", "realism", "novelty", "identity", "ssim"):
        params["filter"][f"{name}_threshold"] = {"value": -100.0}
    (folder / "data").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    rng = np.random.default_rng(0)

    def rows(count: int, split: str, origin: str) -> list[dict[str, object]]:
        made = []
        for number in range(count):
            path = folder / "data" / f"{origin}-{split}-{number:03d}.png"
            Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(path)
            made.append(
                {
                    "image_id": path.stem,
                    "person_id": f"{origin}-{split}-{number // 3}",
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
    # Each process has looked at its share: 75 are 64 and 11.
    assert "64/64" in said and "11/11" in said, said
