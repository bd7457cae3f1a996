from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.config import GenerateConfig
from lookalike.data.loading import decode
from lookalike.data.manifest import read_manifest
from lookalike.errors import UserError
from lookalike.inversion.encoder import Encoder
from lookalike.synthesis.folder import FolderResult, generate_from_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of different sizes and types, and two files that are none."""
    folder = tmp_path / "in"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name, size in (("anna.png", (64, 32)), ("ben.jpg", (200, 90)), ("cleo.bmp", (48, 48))):
        pixels = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "cut.jpg").write_bytes((folder / "ben.jpg").read_bytes()[:900])
    (folder / "notes.txt").write_text("no image")
    return folder


def run(folder: Path, output: Path, encoder: Encoder, generate: GenerateConfig) -> FolderResult:
    return generate_from_folder(folder, output, encoder, generate, generator_digest="g" * 64)


def test_folder(folder: Path, encoder: Encoder, generate: GenerateConfig) -> None:
    output = folder.parent / "deep" / "out"
    result = run(folder, output, encoder, generate)
    assert set(result.skipped) == {"cut.jpg", "notes.txt"}
    assert "not a readable image" in result.skipped["notes.txt"]
    expected = {
        f"{name}_{what}.jpg"
        for name in ("anna", "ben", "cleo")
        for what in ("inverted", *(f"var{i:02d}" for i in range(5)))
    }
    assert {path.name for path in output.glob("*.jpg")} == expected
    for path in output.glob("*.jpg"):
        assert decode(path.read_bytes()).size == (24, 48)
    manifest = read_manifest(output / "manifest.parquet")
    assert set(manifest["member"]) == expected
    assert set(manifest["person_id"]) == {"anna", "ben", "cleo"}


def test_images_of_one_name_are_not_mixed_up(
    folder: Path, encoder: Encoder, generate: GenerateConfig
) -> None:
    Image.new("RGB", (10, 20)).save(folder / "anna.webp")
    result = run(folder, folder.parent / "out", encoder, generate)
    assert result.skipped["anna.webp"] == "anna.png has the same name"


def test_bad_folders(
    folder: Path, encoder: Encoder, generate: GenerateConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no folder at"):
        run(tmp_path / "nowhere", tmp_path / "out", encoder, generate)
    with pytest.raises(UserError, match="another folder"):
        run(folder, folder, encoder, generate)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no readable image"):
        run(tmp_path / "empty", tmp_path / "out", encoder, generate)
