from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lookalike.config import EncoderConfig
from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.inversion import fitting
from lookalike.inversion.fitting import fit, fit_all, load_latents, save_latents
from lookalike.inversion.losses import InversionLoss, perceptual_loss
from lookalike.stylegan3.generator import Generator
from lookalike.training.model_file import save_model
from lookalike.training.session import Session


@pytest.fixture
def loss(config: EncoderConfig, generator: Generator) -> InversionLoss:
    """Of pixels, and a little of perceptual distance."""
    only = config.model_copy(update={"identity": 0.0, "perceptual": 0.1})
    return InversionLoss(
        only, generator.mapping.w_avg, perceptual_loss("random"), lambda x: x.flatten(1)
    )


@pytest.fixture
def start(generator: Generator) -> Callable[[int], Tensor]:
    return lambda count: generator.mapping.w_avg.repeat(count, generator.num_ws, 1)


def value(loss: InversionLoss, generator: Generator, images: Tensor, ws: Tensor) -> float:
    with torch.no_grad():
        drawn = generator.synthesis(ws)
        return float(loss(images, loss.target(images), drawn, ws)["loss"])


def test_steps_bring_latents_nearer_to_their_images(
    loss: InversionLoss, generator: Generator, start: Callable[[int], Tensor]
) -> None:
    """Targets that the generator can draw, from the average latent."""
    generator.requires_grad_(False)
    torch.manual_seed(0)
    target = start(3) + 0.5 * torch.randn_like(start(3))
    images = generator.synthesis(target)
    values = [
        value(loss, generator, images, fit(generator, loss, images, start(3), steps))
        for steps in (0, 5, 40)
    ]
    assert values[0] == value(loss, generator, images, start(3)), "no step, no change"
    assert values[1] < values[0]
    assert values[2] < 0.6 * values[0]
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_what_does_not_get_better_ends(
    loss: InversionLoss,
    generator: Generator,
    start: Callable[[int], Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a rate of nearly nothing a window is enough to see that nothing comes of it."""
    generator.requires_grad_(False)
    steps = []

    class Counted(InversionLoss):
        def __call__(self, *arguments: Tensor) -> dict[str, Tensor]:
            steps.append(1)
            return super().__call__(*arguments)

    counted = Counted(loss.config, loss.w_avg, loss.perceptual, loss.identity)
    images = generator.synthesis(start(2)) + 0.1
    monkeypatch.setattr(fitting, "RATE", 1e-9)
    fit(generator, counted, images, start(2), 500)
    assert len(steps) == fitting.WINDOW + 1


def test_a_loss_that_is_not_finite_leaves_the_latents(
    loss: InversionLoss, generator: Generator, start: Callable[[int], Tensor]
) -> None:
    generator.requires_grad_(False)
    images = torch.full((2, 3, 32, 16), float("nan"))
    assert torch.equal(fit(generator, loss, images, start(2), 5), start(2))


def test_all_images_in_order(
    loss: InversionLoss, generator: Generator, start: Callable[[int], Tensor]
) -> None:
    """More than a batch: each batch by itself, whatever runs beside it."""
    generator.requires_grad_(False)
    images: Images = np.random.default_rng(0).integers(0, 256, (20, 32, 16, 3), dtype=np.uint8)
    found = fit_all(generator, loss, images, start(20), 2, Session(seed=0))
    parts = [slice(0, fitting.BATCH), slice(fitting.BATCH, 20)]
    alone = [fit(generator, loss, to_tensor(images[part]), start(20)[part], 2) for part in parts]
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-4)
    assert fit_all(generator, loss, images[:0], start(0), 2, Session(seed=0)).shape[0] == 0


def test_a_file_gives_back_what_was_written(
    generator: Generator, other_generator: Generator, tmp_path: Path
) -> None:
    path = tmp_path / "latents.safetensors"
    shape = (generator.num_ws, generator.config.w_dim)
    latents = {"b": torch.rand(shape), "a": torch.rand(shape)}
    save_latents(path, generator, latents)
    found = load_latents(path, generator)
    assert list(found) == ["b", "a"]
    assert all(torch.equal(found[name], latents[name]) for name in latents)
    with pytest.raises(UserError, match=r"belongs to generator .*; run `dvc repro train_encoder`"):
        load_latents(path, other_generator)

    save_latents(path, generator, {})
    assert load_latents(path, generator) == {}


def test_files_that_are_no_latents_are_one_line(generator: Generator, tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    with pytest.raises(UserError, match=r"no weights at .*latents"):
        load_latents(path, generator)
    contents = {"generator": "0" * 64, "images": ["a", "b"]}
    save_model(path, "latents", {"ws": torch.zeros(1, 2, 3)}, contents, {})
    with pytest.raises(UserError, match=r"ws is \(1, 2, 3\), not \(2,"):
        load_latents(path, generator)
    save_model(path, "encoder", {}, {}, {})
    with pytest.raises(UserError, match="holds an encoder, not latents of images"):
        load_latents(path, generator)
