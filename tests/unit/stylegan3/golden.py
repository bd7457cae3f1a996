"""Golden numbers, and their weights under the project's names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookalike.stylegan3 import nvidia

FOLDER = Path(__file__).parents[2] / "golden"
TOLERANCE = 1e-4
"""Of the recorded array's range of values."""


def load(name: str) -> dict[str, Tensor]:
    with np.load(FOLDER / name) as arrays:
        return {
            key: torch.from_numpy(arrays[key])
            for key in arrays.files
            if arrays[key].dtype.kind != "U"
        }


def load_json(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def generator_state(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return nvidia.generator_state(part(arrays, "G."))


def discriminator_state(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return nvidia.discriminator_state(part(arrays, "D."))


def part(arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in arrays.items() if n.startswith(prefix)}


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    span = (expected.max() - expected.min()).item()
    worst = (actual.detach() - expected).abs().max().item()
    assert worst <= tolerance * span, f"off by {worst / span:.2e} of the range"
