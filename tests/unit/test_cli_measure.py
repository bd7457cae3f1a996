"""`lookalike evaluate` and `lookalike distance`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lookalike.cli import app, main
from lookalike.cli_measure import REID, _extractor
from lookalike.config import ReidConfig
from lookalike.data.loading import encode_jpeg
from lookalike.reid.model import new_reid, save_reid

RUN = CliRunner()


def test_evaluate_prints_a_table_and_writes_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    persons = np.repeat(np.arange(5), 4)
    features = np.eye(5)[persons] + 0.05 * random.standard_normal((20, 5))
    cameras = np.tile([1, 2], 10)
    np.savez(
        "found.npz",
        query=features[::4],
        gallery=features,
        query_persons=persons[::4],
        gallery_persons=persons,
        query_cameras=cameras[::4],
        gallery_cameras=cameras,
    )
    done = RUN.invoke(app, ["evaluate", "found.npz", "--rerank", "--output", "metrics.json"])
    assert done.exit_code == 0, done.output
    assert "100.00" in done.output
    written = json.loads(Path("metrics.json").read_text())
    assert written["cosine"]["rank_1"] == written["reranked"]["rank_1"] == 1
    assert written["cosine"]["queries"] == 5


def test_evaluate_says_what_it_takes_before_it_imports_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("people").mkdir()
    Path("people", "a.jpg").touch()
    monkeypatch.setattr(sys, "argv", ["lookalike", "evaluate", "people"])
    monkeypatch.setitem(sys.modules, "lookalike.reid.foreign", None)
    with pytest.raises(SystemExit, match="2"):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert "people is a folder of pictures; give an .npz file of features" in line
    for command in ("embed", "train", "distance"):
        assert f"`lookalike {command}`" in line


def test_distance_names_the_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for folder in ("real", "made"):
        Path(folder).mkdir()
        for index in range(5):
            picture = random.integers(0, 256, (32, 16, 3), np.uint8)
            (Path(folder) / f"{index}.jpg").write_bytes(encode_jpeg(picture))
    done = RUN.invoke(app, ["distance", "real", "made"])
    assert done.exit_code == 0, done.output
    assert "frechet_efficientnet_lite2" in done.output
    assert "5 pictures in made against 5 in real" in done.output


def test_flipped_embeddings_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other features of the same weights must not find the first ones' statistics."""
    monkeypatch.chdir(tmp_path)
    config = ReidConfig(height=8, width=8, embedding_dim=4, batch_size=2, micro_batch=2)
    save_reid(Path("mine.safetensors"), new_reid(config, 2), config, ["a", "b"])
    digests = []
    for flip in ("false", "true"):
        Path("params.yaml").write_text(f"evaluate: {{flip: {flip}}}\n")
        digests.append(_extractor(REID, "mine.safetensors").digest)
    assert len(set(digests)) == 2
