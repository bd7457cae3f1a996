from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from lookalike.config import EncoderConfig
from lookalike.data.loading import Images, to_tensor, to_uint8
from lookalike.errors import UserError
from lookalike.inversion.encoder import Encoder
from lookalike.inversion.losses import perceptual_loss
from lookalike.inversion.trainer import train_encoder
from lookalike.stylegan3.generator import Generator
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Session


class Recorder(NullTracker):
    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self.points.append((step, dict(values)))


class KilledAfter(ResumeState):
    """Stops the run right after a checkpoint, as a kill would."""

    def __init__(self, root: Path, checkpoints: int):
        super().__init__(root, "train_encoder", "test")
        self.left = checkpoints

    def save(self, state: Mapping[str, Any]) -> None:
        super().save(state)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def pooled(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(x, (4, 2)).flatten(1)


def train(
    config: EncoderConfig,
    images: Images,
    generator: Generator,
    resume: ResumeState,
    tracker: NullTracker | None = None,
) -> Encoder:
    return train_encoder(
        config,
        images,
        ["0001", "0001", "0002", "0002"],
        generator,
        perceptual=perceptual_loss("random"),
        identity=pooled,
        session=Session(seed=1),
        resume=resume,
        tracker=tracker or NullTracker(),
    )


def test_overfits_four_images(config: EncoderConfig, generator: Generator, tmp_path: Path) -> None:
    """Images that the generator can draw: the encoder must find its way to them."""
    torch.manual_seed(2)
    targets = to_uint8(generator(torch.randn(4, 8)))
    weights = generator.synthesis.layers[0].weight.clone()
    pixels_only = config.model_copy(
        update={
            "total_images": 240,
            "batch_size": 4,
            "learning_rate": 0.01,
            "perceptual": 0.0,
            "identity": 0.0,
            "latent_norm": 0.0,
            "checkpoint_images": 10_000,
        }
    )
    curve = Recorder()
    encoder = train(pixels_only, targets, generator, ResumeState(tmp_path, "e", "x"), curve)

    x = to_tensor(targets)
    with torch.no_grad():
        errors = [float((drawn - x).square().mean()) for _, drawn in encoder.refinements(x, x)]
        ws = generator.mapping.w_avg.expand(len(x), generator.num_ws, -1)
        start = float((generator.synthesis(ws) - x).square().mean())
    assert errors[-1] < 0.5 * start
    assert curve.points[-1][0] == 240
    assert curve.points[-1][1]["loss"] < 0.5 * curve.points[0][1]["loss"]
    assert torch.equal(weights, generator.synthesis.layers[0].weight)


def test_killed_run_ends_with_the_same_weights(
    config: EncoderConfig, images: Images, generator: Generator, tmp_path: Path
) -> None:
    curve = Recorder()
    whole = train(config, images, generator, ResumeState(tmp_path / "a", "e", "x"), curve)
    terms = {"loss", "l2", "lpips_random", "identity", "latent_norm", "gradient_norm"}
    assert set(curve.points[0][1]) == terms | {"images_per_second", "data_wait", "memory_gib"}
    assert curve.points[0][1]["gradient_norm"] > 0
    with pytest.raises(KeyboardInterrupt):
        train(config, images, generator, KilledAfter(tmp_path / "b", checkpoints=2))
    rest = Recorder()
    resumed = train(
        config, images, generator, ResumeState(tmp_path / "b", "train_encoder", "test"), rest
    )
    assert rest.points[0][0] == 16, "the last checkpoint's, which was killed before handing over"
    mine, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_run_killed_after_its_last_step_trains_no_more(
    config: EncoderConfig, images: Images, generator: Generator, tmp_path: Path
) -> None:
    rarely = config.model_copy(update={"checkpoint_images": 10_000})
    first = Recorder()
    whole = train(rarely, images, generator, ResumeState(tmp_path / "a", "e", "x"), first)
    with pytest.raises(KeyboardInterrupt):
        train(rarely, images, generator, KilledAfter(tmp_path / "b", checkpoints=1))
    curve = Recorder()
    state = ResumeState(tmp_path / "b", "train_encoder", "test")
    again = train(rarely, images, generator, state, curve)
    assert [step for step, _ in curve.points] == [step for step, _ in first.points]
    mine, theirs = whole.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_diverged_run_says_what_to_lower_and_saves_nothing(
    bad: float, config: EncoderConfig, images: Images, generator: Generator, tmp_path: Path
) -> None:
    """Also where one micro-batch of several is at fault, and not the last."""
    calls = 0

    def features(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return pooled(x) * (bad if calls == 1 else 1.0)

    resume = ResumeState(tmp_path, "e", "x")
    expected = r"no longer finite at 8 images; lower encoder\.learning_rate"
    with pytest.raises(UserError, match=expected):
        train_encoder(
            config,
            images,
            ["0001", "0001", "0002", "0002"],
            generator,
            perceptual=perceptual_loss("random"),
            identity=features,
            session=Session(seed=1),
            resume=resume,
            tracker=NullTracker(),
        )
    assert resume.load() is None


def test_images_of_another_size_are_refused(
    config: EncoderConfig, images: Images, generator: Generator, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="the generator draws"):
        train(config, images[:, :16], generator, ResumeState(tmp_path, "e", "x"))
