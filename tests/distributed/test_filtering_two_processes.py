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
def test_the_stage_under_a_launcher_writes_the_same_bytes(tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    written = []
    for processes in (1, 2):
        folder = tmp_path / f"{processes}"
        project(folder)
        done = start("-m", "pipelines.filter", "persons", processes=processes, cwd=folder)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stderr.count("filter@persons: kept") == 1, done.stderr
        # Each process has looked at its share: 75 are 64 and 11.
        shares = ["75/75"] if processes == 1 else ["64/64", "11/11"]
        assert all(f"{share}" in done.stderr for share in shares), done.stderr
        outputs = sorted((folder / "artifacts/filter/persons").iterdir())
        written.append({p.name: p.read_bytes() for p in outputs if p.name != "run.json"})
    assert written[0].keys() >= {"manifest.parquet", "scores.parquet", "summary.json"}
    assert written[0] == written[1]
