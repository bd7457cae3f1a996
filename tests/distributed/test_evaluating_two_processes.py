"""Two gloo processes share an evaluation, and the stage of it; the result is that of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lookalike.config import Config, load_config
from lookalike.data.manifest import new_manifest, write_manifest
from lookalike.files import sha256_file
from lookalike.reid.model import new_reid, save_reid


@pytest.mark.distributed
def test_the_result_is_that_of_one_process(tmp_path: Path, launch) -> None:  # type: ignore[no-untyped-def]
    for result in launch("evaluating.py", tmp_path / "two", 2):
        names = {name.partition("/")[2] for name in result}
        assert len(names) == 8
        for name in names:
            assert torch.equal(result[f"together/{name}"], result[f"alone/{name}"]), name


def project(folder: Path) -> None:
    """What the stage evaluate@baseline reads: parameters, crops, a manifest and a model."""
    params = Config().model_dump(mode="json")
    params["reid"] |= {"height": 32, "width": 16}
    params["generate"] |= {"height": 32, "width": 16}
    params["evaluate"] |= {"rerank": True, "batch_size": 4}
    (folder / "data").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    rng, rows = np.random.default_rng(0), []
    for split, persons in (("val", 3), ("query", 3), ("gallery", 3), ("train", 2)):
        for number in range(4 * persons):
            name = f"{split}{number}"
            path = folder / "data" / f"{name}.png"
            Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(path)
            rows.append(
                {
                    "image_id": name,
                    "person_id": f"{number % persons + (100 if split == 'val' else 1):04d}",
                    "camera_id": number // persons % 2 + 1,
                    "split": split,
                    "origin": "real",
                    "member": f"data/{name}.png",
                    "width": 16,
                    "height": 32,
                    "sha256": sha256_file(path),
                }
            )
    manifest = new_manifest(rows)
    write_manifest(manifest, folder / "artifacts/validate/manifest.parquet")
    model = folder / "artifacts/train_reid/baseline"
    write_manifest(manifest[manifest["split"] == "train"], model / "trained_on.parquet")
    torch.manual_seed(0)
    config = load_config(folder / "params.yaml").reid
    save_reid(model / "model.safetensors", new_reid(config, 2), config, ["0001", "0002"])


@pytest.mark.distributed
def test_a_stage_under_a_launcher_writes_the_same_bytes(by_one_and_by_two) -> None:  # type: ignore[no-untyped-def]
    written, _ = by_one_and_by_two("evaluate", "baseline", project)
    assert written.keys() >= {"metrics.json", "per_query.parquet", "cmc.csv"}
    assert b"mAP_reranked" in written["metrics.json"]
