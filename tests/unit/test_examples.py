"""The examples run as they stand."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.config import ReidConfig
from lookalike.data.loading import encode_jpeg
from lookalike.reid.model import load_reid, new_reid, save_reid

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an example in a folder of its own; returns what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.fixture
def people(tmp_path: Path) -> str:
    """Three persons of a colour each, four pictures of every one."""
    random = np.random.default_rng(0)
    for person, colour in enumerate([(200, 60, 60), (60, 200, 60), (60, 60, 200)]):
        folder = tmp_path / "people" / f"person {person}"
        folder.mkdir(parents=True)
        for index in range(4):
            noise = random.integers(-40, 40, (64, 32, 3))
            picture = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            (folder / f"{index}.jpg").write_bytes(encode_jpeg(picture))
    return "people"


@pytest.fixture
def model(tmp_path: Path) -> str:
    config = ReidConfig(height=32, width=16, embedding_dim=8, batch_size=4, micro_batch=4)
    save_reid(tmp_path / "model.safetensors", new_reid(config, 2), config, ["a", "b"])
    return "model.safetensors"


def test_every_example_has_a_test_and_ten_lines() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    for path in EXAMPLES.glob("*.py"):
        code = [line for line in path.read_text().splitlines() if line]
        assert path.stem in tested and len(code) <= 11, path  # a line says what it is


def test_train(run: Run, people: str) -> None:
    run("train", people, "mine.safetensors")
    assert load_reid(Path("mine.safetensors")).classifier.out_features == 3


def test_embed(run: Run, people: str, model: str) -> None:
    assert "(12, 8) of person 0/0.jpg" in run("embed", people, model)
    assert np.load("people.npz")["embeddings"].shape == (12, 8)


def test_rank(run: Run, people: str, model: str) -> None:
    printed = run("rank", f"{people}/person 1", people, model).splitlines()
    assert len(printed) == 4
    assert printed[0].startswith("0.jpg: person 1/0.jpg (1.00)")


def test_evaluate(run: Run) -> None:
    persons = np.repeat(np.arange(3), 2)
    labels = {f"{side}_persons": persons for side in ("query", "gallery")}
    features = np.eye(3)[persons]
    np.savez(
        "found.npz",
        query=features,
        gallery=features,
        query_cameras=np.zeros(6, int),
        gallery_cameras=np.ones(6, int),
        **labels,
    )
    assert "'rank_1': 1.0" in run("evaluate", "found.npz")


def test_draw(run: Run, generator_file: Path) -> None:
    run("draw", str(generator_file), "drawn")
    assert [Image.open(f"drawn/{seed}.png").size for seed in range(4)] == [(16, 32)] * 4


def test_distance(run: Run, people: str) -> None:
    printed = run("distance", people, people)
    assert "frechet_efficientnet_lite2: " in printed
    assert "precision: 1.0000" in printed
