"""`lookalike train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.data.loading import encode_jpeg
from lookalike.errors import UserError
from lookalike.reid.model import load_reid

RUN = CliRunner()


def test_the_parameters_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for person in ("ann", "bob"):
        Path("people", person).mkdir(parents=True)
        for index in range(2):
            picture = random.integers(0, 256, (32, 16, 3), np.uint8)
            Path("people", person, f"{index}.jpg").write_bytes(encode_jpeg(picture))
    Path("params.yaml").write_text(
        "reid: {height: 32, width: 16, embedding_dim: 8, epochs: 1, batch_size: 8, micro_batch: 8}"
    )
    command = ["train", "people", "--output", "model.safetensors"]
    done = RUN.invoke(app, command)
    assert done.exit_code == 0, done.output
    model = load_reid(Path("model.safetensors"))
    assert (model.height, model.embedding_dim) == (32, 8)

    done = RUN.invoke(app, [*command, "--params", "absent.yaml"])
    assert isinstance(done.exception, UserError)
    done = RUN.invoke(app, [*command, "--as", "elsewhere"])
    assert "must be one of: persons, market1501" in str(done.exception)
