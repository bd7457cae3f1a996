"""Seeds, mixing, interpolation and motion: what is on each sheet and in each video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.data.loading import to_uint8
from lookalike.report.figures import FRAME, GAP
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.album import Album, Motion, Picture, draw
from lookalike.synthesis.explore import (
    draw_interpolation,
    draw_mixes,
    draw_motion,
    draw_seeds,
)
from lookalike.synthesis.latents import style_mix, ws_from_seeds
from lookalike.synthesis.recipes import Recipe

SCALE = 4  # of sheets, for this canvas of 32x16


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def at(sheet: np.ndarray, entry: dict[str, Any], lines: int) -> np.ndarray:
    """The picture in a cell of a sheet under one heading, back at the canvas's size."""
    slot_height, slot_width = 32 * SCALE + 2 * FRAME + lines * 15, 16 * SCALE + 2 * FRAME
    y = GAP + 15 + GAP + entry["row"] * (slot_height + GAP) + FRAME
    x = GAP + entry["column"] * (slot_width + GAP) + FRAME
    return sheet[y : y + 32 * SCALE : SCALE, x : x + 16 * SCALE : SCALE]


def noted(output: Path, name: str) -> list[tuple[dict[str, Any], Picture]]:
    """The entries of a JSON file, and the pictures that they describe."""
    entries = json.loads((output / f"{name}.json").read_text())["pictures"]
    motions = [Motion(**e["motion"]) if "motion" in e else None for e in entries]
    recipes = [Recipe.parse(e["recipe"]) for e in entries]
    return [
        (e, Picture(e["seed"], r, m)) for e, r, m in zip(entries, recipes, motions, strict=True)
    ]


def video(path: Path) -> list[np.ndarray]:
    """The frames back at the canvas's size, roughly."""
    file, frames = cv2.VideoCapture(str(path)), []
    while True:
        more, frame = file.read()
        if not more:
            return frames
        frames.append(frame[4::8, 4::8, ::-1].astype(float))


def test_seeds(generator_file: Path, generator: Generator, output: Path) -> None:
    draw_seeds(Album(generator_file, output, "seeds"), [0, 1, 17, 1], psi=0.6)
    names = ["seed000000.png", "seed000001.png", "seed000017.png"]
    assert sorted(p.name for p in output.iterdir()) == [*names, "seeds.json", "seeds.png"]
    content = json.loads((output / "seeds.json").read_text())
    assert list(content["files"]) == [*names, "seeds.png"]
    for name, seed in zip(names, (0, 1, 17), strict=True):
        with torch.no_grad():
            expected = generator.synthesis(ws_from_seeds(generator, [seed], [0.6]))
        assert np.array_equal(picture(output / name), to_uint8(expected)[0])
    sheet = picture(output / "seeds.png")
    for column, (entry, _) in enumerate(noted(output, "seeds")):
        shown = at(sheet, {"row": 0, "column": column}, lines=1)
        assert np.array_equal(shown, picture(output / entry["file"]))
    assert len(np.unique([picture(output / name) for name in names], axis=0)) == 3


def test_mixing(generator_file: Path, generator: Generator, output: Path) -> None:
    draw_mixes(Album(generator_file, output, "mix"), [1, 2], [5, 6, 7], ["coarse", "fine"], 0.9)
    names = ["mix.json", "mix_coarse.png", "mix_fine.png"]
    assert sorted(p.name for p in output.iterdir()) == names
    pictures = noted(output, "mix")
    assert len(pictures) == 2 * (2 * 3 + 2 + 3)
    for entry, described in pictures:
        shown = at(picture(output / entry["file"]), entry, lines=1)
        assert np.array_equal(shown, draw(generator, described))
    a, b = ws_from_seeds(generator, [2, 7], [0.9, 0.9]).split(1)
    with torch.no_grad():
        mixed = to_uint8(generator.synthesis(style_mix(a, b, "coarse")))[0]
    corner = at(picture(output / "mix_coarse.png"), {"row": 2, "column": 3}, lines=1)
    assert np.array_equal(corner, mixed)
    source = at(picture(output / "mix_fine.png"), {"row": 0, "column": 3}, lines=1)
    assert np.array_equal(source, draw(generator, Picture(7, Recipe("base", psi=0.9))))


def test_interpolation(generator_file: Path, generator: Generator, output: Path) -> None:
    draw_interpolation(Album(generator_file, output, "walk"), [3, 4, 9], psi=1.0, frames=12)
    assert sorted(p.name for p in output.iterdir()) == ["walk.json", "walk.mp4", "walk.png"]
    frames, strip = video(output / "walk.mp4"), picture(output / "walk.png")
    assert len(frames) == 3 * 12
    pictures = noted(output, "walk")
    moving = [draw(generator, d) for e, d in pictures if e["file"] == "walk.mp4"]
    for index, (image, frame) in enumerate(zip(moving, frames, strict=True)):
        differences = [np.abs(frame - other).mean() for other in moving]
        assert differences[index] < min(differences) + 2, f"frame {index} is another picture"
        assert np.abs(frame - image).mean() < 12
    # The step from the last frame to the first is one like those before it.
    steps = np.abs(np.diff(np.array([*moving, moving[0]], float), axis=0)).mean(axis=(1, 2, 3))
    assert 0 < steps[-1] < 2 * steps[-2]
    still = [(e, d) for e, d in pictures if e["file"] == "walk.png"]
    assert len(still) == 2 * 9
    for entry, described in still:
        assert np.array_equal(at(strip, entry, lines=1), draw(generator, described))
    for (row, column), seed in {(0, 0): 3, (0, 8): 4, (1, 0): 4, (1, 8): 9}.items():
        end = draw(generator, Picture(seed, Recipe("base", psi=1.0)))
        assert np.array_equal(at(strip, {"row": row, "column": column}, lines=1), end)


def test_motion(generator_file: Path, generator: Generator, output: Path) -> None:
    motion = Motion(x=0.125, angle=10)
    draw_motion(Album(generator_file, output, "move"), [3, 4], psi=1.0, motion=motion, frames=8)
    assert sorted(p.name for p in output.iterdir()) == ["move.json", "move.mp4", "move.png"]
    frames, strip = video(output / "move.mp4"), picture(output / "move.png")
    assert len(frames) == 8
    assert frames[0].shape == (32, 32, 3), "two seeds side by side"
    pictures = noted(output, "move")
    for entry, described in pictures:
        assert described.motion is not None
        expected = draw(generator, described)
        if entry["file"] == "move.png":
            assert np.array_equal(at(strip, entry, lines=1), expected)
        else:
            left = 16 * entry["column"]
            shown = frames[entry["frame"]][:, left : left + 16]
            assert np.abs(shown - expected).mean() < 12
    amounts = [d.motion.x / motion.x for e, d in pictures if d.motion and e.get("row") == 0]
    assert amounts == pytest.approx(np.linspace(-1, 1, 9))
    swing = [d.motion.angle for e, d in pictures if d.motion and "frame" in e and e["column"] == 0]
    assert swing == pytest.approx(10 * np.sin(np.arange(8) * np.pi / 4), abs=1e-6)


def test_the_same_command_gives_the_same_bytes(generator_file: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_seeds(Album(generator_file, tmp_path / name, "seeds"), [3, 4], 0.7)
        draw_mixes(Album(generator_file, tmp_path / name, "mix"), [3], [4], ["medium"], 0.7)
        draw_interpolation(Album(generator_file, tmp_path / name, "walk"), [3, 4], 0.7, 3)
        draw_motion(Album(generator_file, tmp_path / name, "move"), [3], 0.7, Motion(y=0.1), 4)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert len(files) == 4 + 2 + 3 + 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
