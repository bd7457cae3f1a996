"""`lookalike embed`, `search` and `export` on a file of weights; the champion has its own test."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lookalike import cli_deploy
from lookalike import device as device_module
from lookalike.cli import main
from lookalike.config import Config
from lookalike.data.loading import Images, encode_jpeg
from lookalike.errors import UserError
from lookalike.profiles import render
from lookalike.reid import gallery_index
from lookalike.reid.embedder import Embedder
from lookalike.reid.gallery import Gallery
from lookalike.reid.model import new_reid, save_reid

WEIGHTS = ("--model", "model.safetensors")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with parameters, weights, and six pictures in `people/`, one of them broken."""
    place = tmp_path_factory.mktemp("deploy")
    (place / "params.yaml").write_text(render(Config()))
    config = Config().reid
    torch.manual_seed(0)
    save_reid(place / "model.safetensors", new_reid(config, 2), config, ["0001", "0002"])
    rng = np.random.default_rng(0)
    (place / "people").mkdir()
    for index in range(5):
        picture = rng.integers(0, 256, (128, 64, 3), dtype=np.uint8)
        (place / "people" / f"{index}.jpg").write_bytes(encode_jpeg(picture))
    (place / "people" / "broken.jpg").write_bytes(b"no picture")
    unit = np.eye(5, 256, dtype=np.float32)
    model = {"model": "another", "weights_sha256": "ab", "flip": "false"}
    Gallery(place / "people", tuple("01234"), unit, model).save(place / "other.npz")
    return place


@pytest.fixture
def place(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(prepared)
    return prepared


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lookalike", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_embed_then_search(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "embed", "people", "--output", "out/g.npz", *WEIGHTS) == 0
    said = capsys.readouterr().err
    assert "left out broken.jpg: not a readable image" in said
    assert "out/g.npz: 5 pictures embedded with model.safetensors" in said

    found = ["search", "people/3.jpg", "out/g.npz", "--top", "2", *WEIGHTS]
    assert run(monkeypatch, *found) == 0
    assert ".lookalike/search.html: 3.jpg is most like 3.jpg (1.000)" in capsys.readouterr().err
    page = (place / ".lookalike" / "search.html").read_text()
    assert page.count("<section>") == 1
    assert page.count("<img") == 3, "the query and two matches"

    # Folders on both sides, without a saved gallery.
    found = ["search", "people", "people", "--output", "p.html", "--top", "9", *WEIGHTS]
    assert run(monkeypatch, *found) == 0
    page = (place / "p.html").read_text()
    assert page.count("<section>") == 5
    assert page.count("<img") == 5 * 6


def test_embed_index_then_search(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "embed", "people", "--output", "out/g.npz", *WEIGHTS) == 0
    five = Gallery.load(Path("out/g.npz"))
    more = np.random.default_rng(0).standard_normal((10_000, 256)).astype(np.float32)
    more /= np.linalg.norm(more, axis=1, keepdims=True)
    files = (*five.files, *(f"{n}.png" for n in range(len(more))))
    rows = np.concatenate([five.embeddings, more])
    Gallery(five.folder, files, rows, five.model).save(Path("out/many.npz"))
    monkeypatch.setattr(gallery_index, "CODE", 8)  # quick
    assert run(monkeypatch, "index", "out/many.npz", "--output", "out/many.index") == 0
    assert "out/many.index: 10,005 pictures of out/many.npz indexed" in capsys.readouterr().err
    assert run(monkeypatch, "search", "people/3.jpg", "out/many.index", *WEIGHTS) == 0
    assert "3.jpg is most like 3.jpg (1.000)" in capsys.readouterr().err


def test_only_what_a_page_shows_is_embedded(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_deploy, "QUERIES_SHOWN", 2)
    embedded: list[int] = []
    embed = Embedder.embed

    def counting(self: Embedder, images: Images) -> np.ndarray:
        embedded.append(len(images))
        return embed(self, images)

    monkeypatch.setattr(Embedder, "embed", counting)
    asked = ["search", "people", "people", "--output", "p.html", *WEIGHTS]
    assert run(monkeypatch, *asked) == 0
    assert embedded == [2, 5], "queries and gallery"
    assert "only the first 2 of 6 queries" in capsys.readouterr().err


def test_a_gpu_embeds_and_the_cpu_exports(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[torch.device | str] = []

    def load(
        path: Path, batch_size: int, flip: bool, device: torch.device | str = "cpu"
    ) -> Embedder:
        devices.append(device)
        raise UserError("enough")

    there = torch.device("meta")
    monkeypatch.setattr(Embedder, "load", load)
    monkeypatch.setattr(device_module, "default_device", lambda: there)
    for arguments in (
        ["embed", "people", "--output", "g.npz"],
        ["search", "people", "people"],
        ["export", "--output", "x.onnx"],
    ):
        assert run(monkeypatch, *arguments, *WEIGHTS) == 2
    assert devices == [there, there, "cpu"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "nowhere", "people"], "no picture or folder at nowhere"),
        (["index", "nowhere.npz", "--output", "i"], "no gallery at nowhere.npz"),
        (["index", "other.npz", "--output", "i"], "needs 10,000 pictures or more"),
        (["search", "people", "nowhere.npz"], "no gallery or index at nowhere.npz"),
        (["search", "people/broken.jpg", "people"], "people/broken.jpg is not a readable image"),
        (["search", "people", "other.npz", "--output", "other.npz"], "it is the file to be read"),
        (["index", "other.npz", "--output", "other.npz"], "it is the file to be read"),
        (["export", "--output", "model.safetensors"], "it is the file to be read"),
        (["embed", "nowhere", "--output", "g.npz"], "no folder at nowhere"),
        (["search", "people", "other.npz"], "made with another, not with model.safetensors"),
        (["embed", "people", "--output", "x", "--model", "lost"], "no model lost"),
        (["export", "--output", "x", "--model", "people/0.jpg"], "people/0.jpg"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str],
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(place.iterdir())
    model = () if "--model" in arguments or arguments[0] == "index" else WEIGHTS
    assert run(monkeypatch, *arguments, *model) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert sorted(place.iterdir()) == before
