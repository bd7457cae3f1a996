"""Model files: exact, atomic, of every version; nothing in a file is ever run."""

from __future__ import annotations

import gzip
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lookalike.errors import UserError
from lookalike.inversion.checkpoint import load_encoder
from lookalike.reid.model import load_reid
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.transfer import transfer
from lookalike.training.model_file import load_model, load_weights, save_model, save_weights

OLD = Path(__file__).parents[2] / "golden" / "models"
NUMBERS = json.loads((OLD / "numbers.json").read_text())


def test_weights_round_trip_with_the_same_bytes(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    tensors = {"b": shared, "a": shared.T, "n": torch.tensor(3), "h": torch.ones(2).half()}
    metadata = {"kind": "test", "nested": {"x": [1, 2.5, None]}}
    first, second = tmp_path / "deep" / "a.safetensors", tmp_path / "b.safetensors"
    save_weights(first, tensors, metadata)
    save_weights(second, dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["a.safetensors"]
    (plain := tmp_path / "plain").touch()
    assert first.stat().st_mode == plain.stat().st_mode, "others may read it as they may any file"
    loaded, read = load_weights(first)
    assert read == metadata
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype


def test_foreign_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match=r"no weights at .*dvc repro"):
        load_weights(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not a weights file"):
        load_weights(path)
    save_file({"a": torch.zeros(2)}, path)  # somebody else's
    with pytest.raises(UserError, match="not a weights file"):
        load_weights(path)
    save_weights(path, {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match="damaged or cut short"):
        load_weights(path)


class Malicious:
    """Unpickling it runs a command."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.system, (f"touch '{self.marker}'",)


def test_pickles_do_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "w.safetensors"
    torch.save({"a": Malicious(marker)}, path)
    with pytest.raises(UserError, match="not a weights file"):
        load_weights(path)
    assert not marker.exists()


def test_newer_versions_and_other_contents_are_one_line(tmp_path: Path) -> None:
    path, tensors = tmp_path / "w.safetensors", {"a": torch.zeros(2)}
    save_weights(path, tensors, {"version": 3, "kind": "reid"})
    with pytest.raises(UserError, match=r"version 3, .* up to 2: update lookalike"):
        load_model(path, "reid")
    save_weights(path, tensors, {"key": "of a cache"})
    with pytest.raises(UserError, match="holds something else, not a re-ID model"):
        load_model(path, "reid")
    old = {"format": "lookalike-reid", "version": 1}
    for metadata in (old, old | {"config": 7, "classes": []}, {"version": 2, "kind": "reid"}):
        save_weights(path, tensors, metadata)
        with pytest.raises(UserError, match="cannot be read: ") as caught:
            load_model(path, "reid")
        assert "\n" not in str(caught.value)
    save_model(path, "reid", tensors, {"height": 3}, {})
    assert load_model(path, "reid").architecture == {"height": 3}


# Files of every version. They are not made again: what reads them may change.


def assert_close(found: torch.Tensor, name: str) -> None:
    torch.testing.assert_close(found.flatten(), torch.tensor(NUMBERS[name]), rtol=1e-3, atol=1e-4)


def waves(*shape: int) -> torch.Tensor:
    return torch.linspace(-1, 1, int(np.prod(shape))).sin().view(1, *shape)


@pytest.mark.parametrize(("version", "recipe"), [(1, "study"), (1, "strong"), (2, "strong")])
def test_old_reid_models_give_the_same_features(version: int, recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = gzip.decompress((OLD / f"reid_v{version}_{recipe}.header.gz").read_bytes())
    path.write_bytes(header + weights_for(json.loads(header[8:])))
    model = load_reid(path)
    with torch.no_grad():
        assert_close(model.features(waves(3, 32, 16))[0, :16], f"reid_v1_{recipe}")
    assert load_model(path, "reid").recipe["classes"] == ["0001", "0002", "syn-000001"]


def weights_for(header: dict[str, Any]) -> bytes:
    """ResNet50 is too large for git: numbers that follow from its header, as when it was made."""
    noise = np.random.default_rng(0).standard_normal(100_003).astype(np.float32)
    entries = [(entry["data_offsets"], n, entry) for n, entry in header.items() if n[0] != "_"]
    parts: list[bytes] = []
    for position, (_, name, entry) in enumerate(sorted(entries, key=lambda e: e[0])):
        shape = entry["shape"]
        if entry["dtype"] == "I64":
            parts.append(struct.pack("<q", 0))
            continue
        values = np.resize(np.roll(noise, -position), int(np.prod(shape)))
        if name.endswith("running_var"):
            values = 1 + np.abs(values)
        elif len(shape) == 1 and name.endswith("weight"):
            values = 1 + 0.1 * values
        elif len(shape) > 1:
            values = values * np.float32(np.prod(shape[1:]) ** -0.5)
        else:
            values = np.full_like(values, 3) if name.endswith("avgpool.p") else 0.1 * values
        parts.append(values.astype(np.float32).tobytes())
    return b"".join(parts)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["plain", "exported", "cameras"])
def test_old_generators_draw_the_same_images(name: str, version: int) -> None:
    path = OLD / f"generator_v{version}_{name}.safetensors"
    generator = load_generator(path)
    labels = torch.tensor([1]) if name == "cameras" else None
    images = generator(torch.linspace(-1, 1, 4)[None], labels=labels)
    drawn = "plain" if name == "exported" else name
    assert_close(images[0, :, ::4, ::4], f"generator_v1_{drawn}")
    known = Classes("camera", ("1", "2"), (5, 2)) if name == "cameras" else None
    assert generator.classes == known
    judge = Discriminator(16, 8, channel_base=32, channel_max=4, c_dim=generator.config.c_dim)
    report = transfer(path, Generator(generator.config, known), judge)
    assert report.licence == "for tests"
    new = {part.split(".")[0] for part in report.names("new")}
    assert new == ({"discriminator"} if name == "exported" else set())


@pytest.mark.parametrize("version", [1, 2])
def test_old_encoders_give_the_same_latents(version: int) -> None:
    generator = load_generator(OLD / f"generator_v{version}_plain.safetensors")
    encoder = load_encoder(OLD / f"encoder_v{version}.safetensors", generator)
    assert_close(encoder.invert(waves(3, 16, 8)), "encoder_v1")
