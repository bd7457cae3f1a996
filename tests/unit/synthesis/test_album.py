"""Motion in the right direction, and a JSON file from which every picture can be drawn again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.report.figures import Band, Cell
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.album import Album, Motion, Picture, draw
from lookalike.synthesis.recipes import Recipe

BASE = Recipe("base", psi=0.8)


@pytest.mark.parametrize(
    ("motion", "origin", "arrives"),
    [
        (Motion(x=0.25), (0.0, 0.0), (0.25, 0.0)),
        (Motion(y=0.25), (0.1, 0.0), (0.1, 0.25)),
        (Motion(angle=90), (1.0, 0.0), (0.0, -1.0)),  # what was right is on top: y points down
        (Motion(x=0.5, angle=90), (1.0, 0.0), (0.5, -1.0)),  # rotated first
    ],
)
def test_the_transform_leads_from_output_to_input(
    motion: Motion, origin: tuple[float, float], arrives: tuple[float, float]
) -> None:
    found = motion.transform() @ torch.tensor([*arrives, 1.0])
    torch.testing.assert_close(found, torch.tensor([*origin, 1.0]), atol=1e-6, rtol=0)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-360, 360))
def test_parts_of_a_motion(x: float, y: float, angle: float) -> None:
    motion = Motion(x, y, angle)
    assert torch.equal(motion.times(0).transform(), torch.eye(3))
    half, turn = motion.times(0.5), motion.transform()
    assert half.angle == pytest.approx(angle / 2, abs=1e-8)
    torch.testing.assert_close(torch.linalg.det(turn), torch.tensor(1.0))
    back = Motion(angle=angle).times(-1).transform() @ Motion(angle=angle).transform()
    torch.testing.assert_close(back, torch.eye(3), atol=1e-5, rtol=0)


def test_a_shift_moves_the_picture(generator: Generator) -> None:
    """The inner part arrives where the motion says: 4 pixels of the longer side's 32."""
    still = draw(generator, Picture(3, BASE)).astype(float)
    right = draw(generator, Picture(3, BASE, Motion(x=4 / 32)))
    down = draw(generator, Picture(3, BASE, Motion(y=4 / 32)))
    for moved, shift, inner in (
        (right, (0, 4), (slice(8, 24), slice(6, 14))),
        (down, (4, 0), (slice(8, 28), slice(2, 14))),
    ):
        expected = np.roll(still, shift, (0, 1))
        error, unmoved = (np.abs((moved - other)[inner]).mean() for other in (expected, still))
        assert error < 0.5 * unmoved
    assert np.array_equal(draw(generator, Picture(3, BASE, Motion())), still)


def test_half_a_turn_of_the_input(generator: Generator) -> None:
    """The canvas is symmetric about its centre, so this is exact up to rounding."""
    w = torch.zeros(1, generator.config.w_dim)
    upright = generator.synthesis.input(w)
    turned = generator.synthesis.input(w, Motion(angle=180).transform())
    torch.testing.assert_close(turned, upright.flip(2, 3), atol=1e-4, rtol=0)
    assert (turned - upright).abs().mean() > 0.1


def test_album_says_how_to_draw_every_picture(
    generator_file: Path, generator: Generator, tmp_path: Path
) -> None:
    album = Album(generator_file, tmp_path / "deep" / "out", "trial")
    assert not album.folder.exists(), "nothing is written before there is a picture"
    pictures = [
        Picture(3, BASE),
        Picture(4, Recipe("mix", group="medium", psi=0.5, partner="9")),
        Picture(5, Recipe("interpolate", amount=0.25, psi=1.0, partner="3")),
        Picture(6, BASE, Motion(0.1, -0.2, 30)),
    ]
    images = [album.draw(p, "all.png", row=0, column=c) for c, p in enumerate(pictures)]
    album.sheet([Band("", [[Cell(image) for image in images]])], "all.png")
    album.close()

    content = json.loads((album.folder / "trial.json").read_text())
    assert content["generator"] == {
        "file": "vivid.safetensors",
        "sha256": sha256_file(generator_file),
        "provenance": {"licence": "for tests"},
    }
    assert content["files"] == {"all.png": sha256_file(album.folder / "all.png")}
    for column, (entry, image) in enumerate(zip(content["pictures"], images, strict=True)):
        assert (entry["file"], entry["row"], entry["column"]) == ("all.png", 0, column)
        assert entry["psi"] == pictures[column].recipe.psi
        motion = Motion(**entry["motion"]) if "motion" in entry else None
        again = Picture(entry["seed"], Recipe.parse(entry["recipe"]), motion)
        assert np.array_equal(draw(generator, again), image)
    assert sorted(path.name for path in album.folder.iterdir()) == ["all.png", "trial.json"]


def test_small_canvases_are_enlarged(generator_file: Path, tmp_path: Path) -> None:
    album = Album(generator_file, tmp_path / "out", "trial")  # 32x16
    assert [album.enlargement(side) for side in (16, 32, 128, 130)] == [1, 1, 4, 4]


def test_bad_places(generator_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights at .*nowhere\.safetensors"):
        Album(tmp_path / "nowhere.safetensors", tmp_path / "out", "trial")
    with pytest.raises(UserError, match="it is a file; give --output a folder"):
        Album(generator_file, generator_file, "trial")
