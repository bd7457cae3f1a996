"""What each layer's styles change."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from lookalike.config import Group
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.latents import layer_group
from lookalike.synthesis.layers import measure_layers, seeds_and_others, write_layers


class Colours:
    """Tells persons apart by their mean colours."""

    dim = 3

    def embed(self, images: np.ndarray) -> np.ndarray:
        means = images.reshape(len(images), -1, 3).mean(axis=1) - 128
        unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
        return unit.astype(np.float32)


def test_all_styles_make_the_other_person_and_no_others_change_nothing(
    generator: Generator,
) -> None:
    ws, others = seeds_and_others(generator, range(4), 0.8)
    effects = measure_layers(generator, ws, others, Colours())
    layers = [str(layer) for layer in range(ws.shape[1])]
    assert effects["styles"].tolist() == [*layers, *get_args(Group), "all"]
    assert effects["identity"].between(-1, 1.000001).all() and (effects["pixels"] >= 0).all()
    back = measure_layers(generator, others, ws, Colours())
    assert back.iloc[-1, 1:].tolist() == pytest.approx(effects.iloc[-1, 1:].tolist(), rel=1e-4)
    same = measure_layers(generator, ws, ws, Colours())
    assert same["identity"].to_numpy() == pytest.approx(1)
    assert (same["pixels"] == 0).all()


def test_only_the_styles_asked_for_are_taken(generator: Generator) -> None:
    """Where the other person differs in one layer, this and what holds it change something."""
    ws, _ = seeds_and_others(generator, range(2), 0.8)
    others = ws.clone()
    others[:, 1] += 3
    effects = measure_layers(generator, ws, others, Colours()).set_index("styles")
    groups = {group for group in get_args(Group) if 1 in layer_group(group, ws.shape[1])}
    assert set(effects.index[effects["pixels"] > 0]) == {"1", "all"} | groups
    assert effects.loc["1"].tolist() == pytest.approx(effects.loc["all"].tolist())


def test_written_as_a_table_and_a_figure(tmp_path: Path) -> None:
    effects = pd.DataFrame(
        {"styles": ["0", "fine", "all"], "identity": [0.9, 0.8, 0.1], "pixels": [1.0, 2.0, 30.0]}
    )
    write_layers(effects, tmp_path / "new" / "out")
    written = pd.read_csv(tmp_path / "new" / "out" / "layers.csv", dtype={"styles": str})
    pd.testing.assert_frame_equal(written, effects)
    figure = (tmp_path / "new" / "out" / "layers.png").read_bytes()
    assert figure.startswith(b"\x89PNG")
    write_layers(effects, tmp_path / "again")
    assert (tmp_path / "again" / "layers.png").read_bytes() == figure
