from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lookalike.config import EncoderConfig
from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.inversion.checkpoint import load_encoder, new_encoder, save_encoder
from lookalike.inversion.encoder import Encoder, reconstruct
from lookalike.inversion.restyle import ReStyleNetwork
from lookalike.stylegan3.generator import Generator
from lookalike.training.model_file import load_model, save_model


@pytest.fixture
def encoder(config: EncoderConfig, generator: Generator) -> Encoder:
    torch.manual_seed(3)
    encoder = new_encoder(config, generator)
    torch.nn.init.normal_(encoder.network.head_weight, std=0.1)
    return encoder


@pytest.mark.parametrize("size", [(64, 32), (128, 128), (33, 17), (16, 48), (256, 64)])
def test_network_takes_any_size(size: tuple[int, int]) -> None:
    height, width = size
    network = ReStyleNetwork(height, width, channels=4, num_ws=7, w_dim=5)
    x = torch.rand(2, 3, height, width, requires_grad=True)
    torch.nn.init.normal_(network.head_weight)
    output = network(x, x)
    assert output.shape == (2, 7, 5)
    # Every pixel counts: nothing is cropped away.
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert gradient.abs().amax(dim=(0, 1)).min() > 0


def test_network_refuses_another_size() -> None:
    network = ReStyleNetwork(64, 32, channels=4, num_ws=7, w_dim=5)
    with pytest.raises(ValueError, match="takes 64x32 images, not 32x64"):
        network(torch.zeros(1, 3, 32, 64), torch.zeros(1, 3, 32, 64))


def test_untrained_encoder_gives_the_average(
    config: EncoderConfig, generator: Generator, images: Images
) -> None:
    ws = new_encoder(config, generator).invert(to_tensor(images))
    assert torch.equal(ws, generator.mapping.w_avg.expand_as(ws))


def test_each_step_adds_a_residual(encoder: Encoder, images: Images) -> None:
    """The recursion written out by hand: start at w_avg, show the last reconstruction."""
    x, generator = to_tensor(images), encoder.generator
    with torch.no_grad():
        ws = generator.mapping.w_avg.repeat(len(x), generator.num_ws, 1)
        for expected, shown in encoder.refinements(x, x):
            ws = ws + encoder.network(x, generator.synthesis(ws))
            torch.testing.assert_close(expected, ws)
            torch.testing.assert_close(shown, generator.synthesis(ws))
    assert torch.equal(encoder.invert(x), expected)


def test_gradient_of_a_step_stops_at_the_step_before(encoder: Encoder, images: Images) -> None:
    x = to_tensor(images)
    steps = encoder.refinements(x, x)
    first, _ = next(steps)
    second, drawn = next(steps)
    assert torch.autograd.grad(second.sum(), first, retain_graph=True, allow_unused=True) == (None,)
    drawn.mean().backward()
    assert encoder.network.head_weight.grad is not None
    assert encoder.network.head_weight.grad.abs().max() > 0
    assert all(p.grad is None for p in encoder.generator.parameters())


def test_inversion_does_not_depend_on_the_batch(encoder: Encoder, images: Images) -> None:
    x = to_tensor(images)
    together = encoder.invert(x)
    alone = torch.cat([encoder.invert(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_reconstruct(encoder: Encoder, images: Images) -> None:
    drawn = reconstruct(encoder, images)
    assert drawn.shape == images.shape
    assert drawn.dtype == images.dtype


def test_saved_encoder_inverts_alike(
    encoder: Encoder, generator: Generator, images: Images, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, {"perceptual_backbone": "random"})
    loaded = load_encoder(path, generator)
    assert loaded.steps == encoder.steps
    assert torch.equal(loaded.invert(to_tensor(images)), encoder.invert(to_tensor(images)))


def test_encoder_of_another_generator_is_refused(
    encoder: Encoder, other_generator: Generator, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, {})
    with pytest.raises(UserError, match="belongs to generator"):
        load_encoder(path, other_generator)


def test_other_weights_are_refused(generator: Generator, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, "stylegan3", {"x": torch.zeros(1)}, {}, {})
    with pytest.raises(UserError, match="holds a StyleGAN3, not an encoder"):
        load_encoder(path, generator)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": 2}, "encoder.blocks is unknown here"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"channels": 16}, "its settings demand"),
        ({"generator": None}, "encoder.generator: Input should be a valid string"),
    ],
)
def test_another_architecture_is_one_line(
    encoder: Encoder,
    generator: Generator,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, {"colour": "a field that nobody knows"})
    saved = load_model(path, "encoder")
    save_model(path, "encoder", saved.tensors, saved.architecture | changes, saved.recipe)
    with pytest.raises(UserError, match=message) as caught:
        load_encoder(path, generator)
    assert "\n" not in str(caught.value)
