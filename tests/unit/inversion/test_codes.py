"""Two codes of an image: structure from a grey copy, appearance from the image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lookalike.config import EncoderConfig
from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.inversion.checkpoint import load_encoder, new_encoder, save_encoder
from lookalike.inversion.codes import CodeEncoder, grey
from lookalike.stylegan3.generator import Generator


@pytest.fixture
def two(config: EncoderConfig) -> EncoderConfig:
    return config.model_copy(update={"structure_styles": 2, "steps": 1})


@pytest.fixture
def encoder(two: EncoderConfig, generator: Generator) -> CodeEncoder:
    torch.manual_seed(3)
    encoder = new_encoder(two, generator)
    assert isinstance(encoder, CodeEncoder)
    torch.nn.init.normal_(encoder.network.head_weight, std=0.1)
    return encoder


def test_luma_is_that_of_television() -> None:
    primaries = torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2)
    lumas = grey(primaries)
    assert lumas[:, 0, 0, 0].tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert torch.equal(lumas[:, 0], lumas[:, 2])
    red = grey(primaries, torch.tensor([[1.0, 0.0, 0.0]] * 3))
    assert red[:, 1, 0, 0].tolist() == [1.0, 0.0, 0.0]


def test_untrained_encoder_gives_the_average(
    two: EncoderConfig, generator: Generator, images: Images
) -> None:
    ws = new_encoder(two, generator).invert(to_tensor(images))
    assert torch.equal(ws, generator.mapping.w_avg.expand_as(ws))


def test_colours_do_not_reach_the_structure(encoder: CodeEncoder, images: Images) -> None:
    """Two images of one luma: alike in structure to the last bit, and not in appearance."""
    x = to_tensor(images)
    ws, coloured = encoder.invert(grey(x)), encoder.invert(x)
    torch.testing.assert_close(ws[:, :2], coloured[:, :2], rtol=0, atol=1e-5)
    assert (ws[:, 2:] - coloured[:, 2:]).abs().max() > 1e-3


def test_appearance_and_structure_come_from_their_images(
    encoder: CodeEncoder, images: Images
) -> None:
    x = to_tensor(images)
    who, how = x, x.roll(1, 0)
    [(ws, drawn)] = encoder.refinements(who, how)
    torch.testing.assert_close(ws[:, 2:], encoder.invert(who)[:, 2:])
    torch.testing.assert_close(ws[:, :2], encoder.invert(how)[:, :2])
    torch.testing.assert_close(drawn, encoder.generator.synthesis(ws))


def test_inverting_draws_nothing(
    encoder: CodeEncoder, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = to_tensor(images)
    [(ws, _)] = encoder.refinements(x, x)
    monkeypatch.setattr(encoder.generator.synthesis, "forward", None)
    assert torch.equal(encoder.invert(x), ws)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_saved_encoder_inverts_alike(
    encoder: CodeEncoder, generator: Generator, images: Images, tmp_path: Path, dtype: torch.dtype
) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, {}, dtype)
    loaded, x = load_encoder(path, generator), to_tensor(images)
    assert loaded.structure_styles == 2
    exact = {"rtol": 0.0, "atol": 0.0} if dtype == torch.float32 else {"rtol": 0.01, "atol": 0.01}
    torch.testing.assert_close(loaded.invert(x), encoder.invert(x), **exact)


def test_a_start_is_any_generators(
    encoder: CodeEncoder,
    two: EncoderConfig,
    other_generator: Generator,
    images: Images,
    tmp_path: Path,
) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, {})
    begun = new_encoder(two, other_generator, start=path)
    x = to_tensor(images)
    expected = encoder.invert(x) - encoder.w_avg
    torch.testing.assert_close(begun.invert(x) - begun.w_avg, expected)
    assert all(p.requires_grad for p in begun.network.parameters())


def test_a_start_of_another_kind_is_named(
    encoder: CodeEncoder, config: EncoderConfig, generator: Generator, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, {})
    with pytest.raises(UserError, match="steps 1 instead of 2, structure_styles 2 instead of 0"):
        new_encoder(config, generator, start=path)


def test_more_structure_than_styles_is_refused(config: EncoderConfig, generator: Generator) -> None:
    many = config.model_copy(update={"structure_styles": generator.num_ws, "steps": 1})
    with pytest.raises(UserError, match=f"of {generator.num_ws} styles altogether"):
        new_encoder(many, generator)
