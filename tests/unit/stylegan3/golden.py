"""Golden weights under the project's names; the recorded names go by layer, ours by index."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
    layers = load_json("stylegan3_t_64.json")["design"]["layers"]
    state = {}
    for key, value in arrays.items():
        if not key.startswith("G.") or key.endswith("_filter"):
            continue
        key = key.removeprefix("G.").replace("mapping.fc", "mapping.layers.")
        key = key.replace("input.freqs", "input.frequencies")
        for i, layer in enumerate(layers):
            key = key.replace(f"synthesis.{layer['name']}.", f"synthesis.layers.{i}.")
        state[key] = value
    return state


def discriminator_state(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    state = {}
    for key, value in arrays.items():
        if not key.startswith("D.") or key.endswith("_filter"):
            continue
        key = key.removeprefix("D.").replace("b64.fromrgb", "from_rgb").removeprefix("b4.")
        for i, resolution in enumerate((64, 32, 16, 8)):
            key = key.replace(f"b{resolution}.", f"blocks.{i}.")
        state[key] = value
    return state


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    span = (expected.max() - expected.min()).item()
    worst = (actual.detach() - expected).abs().max().item()
    assert worst <= tolerance * span, f"off by {worst / span:.2e} of the range"
