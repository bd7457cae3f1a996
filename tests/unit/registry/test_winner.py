"""What a winner is registered with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lookalike.config import Config
from lookalike.data.loading import encode_jpeg
from lookalike.registry.drift import distance
from lookalike.registry.winner import validation_reference
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid, save_reid


def test_the_reference_is_of_the_validation_rows_as_evaluated(tmp_path: Path) -> None:
    config = Config()
    config = config.model_copy(
        update={"evaluate": config.evaluate.model_copy(update={"flip": True})}
    )
    torch.manual_seed(0)
    weights = tmp_path / "model.safetensors"
    save_reid(weights, new_reid(config.reid, 2), config.reid, ["a", "b"])
    height, width = config.reid.height, config.reid.width
    noise = np.random.default_rng(0)
    images = noise.integers(0, 255, (12, height, width, 3), dtype=np.uint8)
    names = [f"{index}.jpg" for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        (tmp_path / name).write_bytes(encode_jpeg(image, 100))
    rows = pd.DataFrame({"archive": "", "member": names, "camera_id": [1, 2] * 6})
    reference = validation_reference(weights, rows, tmp_path, config)
    places = reference.project(Embedder.load(weights, flip=True).embed(images))
    assert distance(places) < 0.2
    assert distance(reference.project(Embedder.load(weights).embed(images // 8))) > 0.5
