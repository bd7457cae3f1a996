from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.cli import main
from lookalike.config import Config, GenerateConfig
from lookalike.data.decoding import decode
from lookalike.data.manifest import read_manifest
from lookalike.errors import UserError
from lookalike.inversion.checkpoint import save_encoder
from lookalike.inversion.encoder import Encoder
from lookalike.profiles import render
from lookalike.stylegan3 import checkpoint
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.folder import FolderResult, generate_from_folder
from lookalike.training.session import Session


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


def test_names_that_no_table_can_hold_are_skipped(
    folder: Path, encoder: Encoder, generate: GenerateConfig
) -> None:
    (folder / "anna.png").rename(folder / os.fsdecode(b"J\xfcrgen.png"))
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    result = run(folder, folder.parent / "out", encoder, generate)
    assert result.skipped[r"J\xfcrgen.png"] == "its name is not UTF-8; rename it"
    assert "No such file" in result.skipped["gone.jpg"]


def test_bad_folders(
    folder: Path, encoder: Encoder, generate: GenerateConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no folder at"):
        run(tmp_path / "nowhere", tmp_path / "out", encoder, generate)
    with pytest.raises(UserError, match="holds files already; give --output an empty"):
        run(folder, folder, encoder, generate)
    with pytest.raises(UserError, match="it is a file"):
        run(folder, folder / "notes.txt", encoder, generate)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no readable image"):
        run(tmp_path / "empty", tmp_path / "out", encoder, generate)


def test_the_command_takes_the_pipelines_networks(
    folder: Path,
    two_codes: Encoder,
    generator_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`lookalike generate --input FOLDER --output FOLDER` beside what the stages wrote."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(render(Config()))
    for stage in ("train_gan", "train_encoder"):
        Path("artifacts", stage).mkdir(parents=True)
    generator_file.rename("artifacts/train_gan/generator.safetensors")
    save_encoder(Path("artifacts/train_encoder/encoder.safetensors"), two_codes, {})
    devices: list[torch.device] = []
    load = checkpoint.load_generator

    def loaded(path: Path, device: torch.device) -> Generator:
        devices.append(device)
        return load(path, device)

    monkeypatch.setattr(checkpoint, "load_generator", loaded)

    def call(*options: str, output: str = "out") -> str:
        arguments = ["lookalike", "generate", "--input", "in", "--output", output, *options]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code in (0, None)
        return capsys.readouterr().err

    config = Config()
    count = config.generate.variations.images_per_person
    said = call().splitlines()
    assert said[-1] == f"3 images -> {3 * (1 + count)} in out, 2 files skipped"
    assert any(line.startswith("skipped notes.txt: not a readable image") for line in said)
    assert len(list(Path("out").glob("*.jpg"))) == 3 * (1 + count)
    size = decode(Path("out/anna_var00.jpg").read_bytes()).size
    assert size == (config.generate.width, config.generate.height)
    assert (read_manifest(Path("out/manifest.parquet"))["generator"] != "").all()
    assert devices == [Session(config.seed).device]

    # Not into the same folder, whose pictures are its manifest's.
    assert "3 images -> 15 in more" in call("--count", "4", output="more")
