"""Networks on disk, and what transfer learning takes over."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lookalike.errors import UserError
from lookalike.stylegan3.checkpoint import (
    export_generator,
    load_generator,
)
from lookalike.stylegan3.transfer import transfer
from lookalike.training.model_file import load_model, save_model

from .tiny import TINY, networks, save


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gan.safetensors"


def test_round_trip(path: Path) -> None:
    generator, _ = save(path)
    loaded = load_generator(path)
    assert loaded.config == TINY
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    z = torch.randn(2, 8)
    with torch.no_grad():
        assert torch.equal(loaded(z), generator.eval()(z))
    saved = load_model(path, "stylegan3")
    assert saved.recipe == {"seed": 0}
    assert saved.architecture["discriminator"] == {"channel_base": 64, "channel_max": 8}


def test_half_precision_on_disk(path: Path, tmp_path: Path) -> None:
    generator, _ = save(path, torch.float16)
    save(tmp_path / "full.safetensors")
    tensors = load_model(path, "stylegan3").tensors
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert path.stat().st_size < (tmp_path / "full.safetensors").stat().st_size
    loaded = load_generator(path).state_dict()
    for name, tensor in generator.state_dict().items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], tensor, rtol=2**-11, atol=2**-24)


def export(path: Path) -> None:
    export_generator(path, path.with_name("alone.safetensors"))


def test_what_cannot_be_written_is_one_line(path: Path, tmp_path: Path) -> None:
    save(path)
    (tmp_path / "file").touch()
    (tmp_path / "taken.safetensors").mkdir()
    for target in ("file/x.safetensors", "taken.safetensors"):
        with pytest.raises(UserError, match=f"cannot write {tmp_path / target}: "):
            export_generator(path, tmp_path / target)
    assert {p.name for p in tmp_path.iterdir()} == {"file", "taken.safetensors", path.name}


def test_other_kinds_are_refused(path: Path) -> None:
    with pytest.raises(UserError, match="no weights at"):
        load_generator(path)
    save_model(path, "encoder", {"a": torch.zeros(3)}, {}, {})
    with pytest.raises(UserError, match="holds an encoder, not a StyleGAN3"):
        load_generator(path)
    with pytest.raises(UserError, match="not a StyleGAN3"):
        transfer(path, *networks(0))


GOOD = asdict(TINY) | {"c_dim": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": None}, "does not say which generator"),
        ({"generator": [1]}, "does not say which generator"),
        ({"generator": GOOD | {"colour": 1}}, "generator.colour is unknown here"),
        (
            {"generator": GOOD | {"height": "16"}},
            "generator.height: Input should be",
        ),
        ({"generator": {"height": 16}}, "generator.width: Field required"),
        ({"generator": GOOD | {"width": 0}}, "canvas 16x0"),
        ({"generator": GOOD | {"num_layers": 10**9}}, r"num_layers \(1000000000\)"),
        ({"generator": GOOD | {"c_dim": 3}}, "c_dim is 3, which is not the number of classes"),
        ({"classes": {}}, "classes.condition: Field required"),
        ({"classes": 7}, "does not say which classes"),
    ],
)
def test_a_foreign_architecture_is_one_line(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    save(path)
    saved = load_model(path, "stylegan3")
    save_model(path, "stylegan3", saved.tensors, saved.architecture | changes, saved.recipe)
    for read in (load_generator, lambda p: transfer(p, *networks(1)), export):
        with pytest.raises(UserError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path} cannot be read: ")
        assert "\n" not in str(caught.value)


def test_tensors_that_do_not_fit_their_settings_are_one_line(path: Path) -> None:
    save(path)
    saved = load_model(path, "stylegan3")
    tensors, architecture = saved.tensors, saved.architecture

    def write(other: dict[str, torch.Tensor], own: dict[str, Any]) -> None:
        save_model(path, "stylegan3", other, own, {})

    wrong = "generator.synthesis.layers.0.weight"
    write(tensors | {wrong: torch.zeros(2)}, architecture)
    with pytest.raises(UserError, match=r"layers\.0\.weight is \(2,\), its settings demand"):
        load_generator(path)
    write(tensors | {"generator.a\nb": torch.zeros(2)}, architecture)
    with pytest.raises(UserError, match=r"tensors without counterpart: a\\nb"):
        load_generator(path)
    settings = architecture["generator"] | {"w_dim": 2**16}
    write(tensors, architecture | {"generator": settings})
    with pytest.raises(UserError, match=r"w_avg is \(8,\), its settings demand \(65536,\)"):
        load_generator(path)
    for vector in ("discriminator.fc.weight", "generator.mapping.layers.0.weight"):
        write(tensors | {vector: torch.zeros(64)}, architecture)
        assert vector in transfer(path, *networks(1, replace(TINY, width=16))).names("new")
