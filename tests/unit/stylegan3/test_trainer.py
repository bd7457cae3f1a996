"""GAN training: it moves, a killed run ends with the same bits, each option does what it says."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lookalike.config import AdaConfig, GanConfig
from lookalike.data.loading import Images, to_tensor, to_uint8
from lookalike.errors import UserError
from lookalike.stylegan3 import critic
from lookalike.stylegan3.blur import blur
from lookalike.stylegan3.classes import Classes, Labels
from lookalike.stylegan3.gan import Gan, build_gan, sample_images
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.loss import generator_loss, r1_penalty
from lookalike.stylegan3.trainer import train_gan
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Session, state_digest

# p moves after four of the six steps, between two checkpoints.
ADAPTING = AdaConfig(initial_p=0.5, target=0.6, images=64, max_p=0.8)
FIXED = AdaConfig(initial_p=0.7, target=None, images=1, max_p=0.7)
OPTIONS = {
    "plain": {},
    "adapting": {"ada": ADAPTING},
    "r": {"config": "r", "ada": FIXED},  # with its blur
    "conditional": {"condition": "camera", "ada": ADAPTING},
    "projected": {"discriminator": "projected"},
    "both": {"discriminator": "both", "condition": "camera", "ada": ADAPTING},
}
CAMERAS, LABELS = Classes.of("camera", [1, 6, 1, 1, 3, 1, 1, 6])  # of the eight crops


class Recorder(NullTracker):
    """Keeps the points."""

    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self.points.append((step, dict(values)))

    def comparable(self) -> list[tuple[int, dict[str, float]]]:
        """The points without what the machine decides."""
        machine = {"images_per_second", "data_wait", "memory_gib"}
        return [
            (step, {name: value for name, value in values.items() if name not in machine})
            for step, values in self.points
        ]


def digests(gan: Gan) -> list[str]:
    networks = [gan.generator, gan.discriminator, gan.average]
    networks += [] if gan.projected is None else [gan.projected]
    return [state_digest(network.state_dict()) for network in networks]


def statistic(generator: Generator, images_seen: int) -> dict[str, float]:
    return {"w": float(generator.mapping.w_avg.sum()), "seen": float(images_seen)}


def conditions(config: GanConfig) -> tuple[Classes | None, Labels | None]:
    return (None, None) if config.condition == "none" else (CAMERAS, LABELS)


def train(
    config: GanConfig,
    images: Images,
    folder: Path,
    gan: Gan | None = None,
    tracker: NullTracker | None = None,
    transferred: bool = False,
) -> Gan:
    classes, labels = conditions(config)
    gan = gan or build_gan(config, 1, classes)
    train_gan(
        config,
        gan,
        images,
        labels=labels,
        session=Session(1),
        resume=ResumeState(folder, "train_gan", "test"),
        tracker=tracker or NullTracker(),
        transferred=transferred,
    )
    return gan


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """Names of the parameters that moved."""
    new = dict(after.named_parameters())
    return {n for n, p in before.named_parameters() if not torch.equal(p, new[n])}


def test_the_same_networks_for_the_same_seed(config: GanConfig) -> None:
    gan = build_gan(config, 1)
    assert digests(gan) == digests(build_gan(config, 1))
    assert digests(gan)[0] == digests(gan)[2]
    assert digests(gan)[0] != digests(build_gan(config, 2))[0]


def test_the_average_has_its_own_weights_and_the_generators_filters(config: GanConfig) -> None:
    gan = build_gan(config, 1)
    memory = [{t.data_ptr() for t in g.state_dict().values()} for g in (gan.generator, gan.average)]
    assert not memory[0] & memory[1]
    for mine, theirs in zip(
        gan.generator.synthesis.layers[:-1], gan.average.synthesis.layers[:-1], strict=True
    ):
        assert (mine.up, mine.down) == (theirs.up, theirs.down)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_killed_run_ends_with_the_same_bits(
    config: GanConfig, images: Images, tmp_path: Path, option: str
) -> None:
    config = config.model_copy(update=OPTIONS[option])
    classes, labels = conditions(config)

    def run(folder: str, gan: Gan, recorder: Recorder, dies_at: float = math.inf):  # type: ignore[no-untyped-def]
        def snapshot(generator: Generator, images_seen: int) -> dict[str, float]:
            if images_seen >= dies_at:
                raise KeyboardInterrupt
            return statistic(generator, images_seen)

        resume = ResumeState(tmp_path / folder, "train_gan", "test")
        return train_gan(
            config,
            gan,
            images,
            labels=labels,
            session=Session(1),
            resume=resume,
            tracker=recorder,
            snapshot=snapshot,
        )

    gan, recorder = build_gan(config, 1, classes), Recorder()
    start = copy.deepcopy(gan)
    history = run("whole", gan, recorder)
    assert [entry["images"] for entry in history] == [0, 12, 24]

    # It trained: every network moved, and every number is one.
    assert changed(start.generator, gan.generator) >= {
        name for name, _ in gan.generator.named_parameters() if name.endswith("weight")
    }
    judge, trained = start.discriminator, gan.discriminator
    if config.discriminator == "projected":
        judge, trained = start.projected.heads, gan.projected.heads  # type: ignore[union-attr]
    assert changed(judge, trained) == {name for name, _ in trained.named_parameters()}
    assert digests(gan)[2] not in (digests(gan)[0], digests(start)[2])
    assert all(math.isfinite(v) for _, values in recorder.points for v in values.values())
    losses = next(values for step, values in recorder.points if "loss_generator" in values)
    if config.discriminator != "projected":
        assert losses["r1_penalty"] > 0
        assert losses["loss_discriminator"] > 0

    state = ResumeState(tmp_path / "whole", "train_gan", "test").load()
    assert state is not None
    if config.ada is None:
        assert "adaptation" not in state
        assert "ada_p" not in losses
    else:
        assert losses["ada_p"] == state["adaptation"]["p"]
        moved = config.ada.target is not None
        assert (state["adaptation"]["p"] != config.ada.initial_p) == moved
        assert state["adaptation"]["steps"] == 2, "of the next four"

    # Killed at 12 images, after the checkpoint at 8.
    first, second = Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        run("killed", build_gan(config, 1, classes), first, dies_at=12)
    torch.rand(7)  # whatever else happens to the random state
    resumed = build_gan(config, 2, classes)  # everything comes from the checkpoint
    assert run("killed", resumed, second) == history
    assert digests(resumed) == digests(gan)
    # No point is lost or repeated, and that of 24 images is the mean over all six steps.
    assert first.comparable() + second.comparable() == recorder.comparable()

    # Started again after the end: nothing left to do.
    again, silent = build_gan(config, 2, classes), Recorder()
    assert run("killed", again, silent) == history
    assert digests(again) == digests(gan)
    assert silent.points == []


def test_micro_batches_hold_the_same_reals(
    config: GanConfig, images: Images, tmp_path: Path
) -> None:
    """Mirroring shows each image and its mirror image once per pass, however batches are cut."""
    originals = to_tensor(images)
    known = torch.cat([originals, originals.flip(3)])

    def shown(name: str, **changes: object) -> list[int]:
        """Numbers of the reals that the discriminator saw, in order; from 8 on mirrored."""
        seen: list[int] = []

        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            equal = (inputs[0][:, None] == known).all(dim=4).all(dim=3).all(dim=2)
            seen.extend(equal.nonzero()[:, 1].tolist())

        small = config.model_copy(update={"total_images": 16, "r1_interval": 100, **changes})
        gan = build_gan(small, 1)
        gan.discriminator.register_forward_pre_hook(look)
        train(small, images, tmp_path / name, gan)
        assert seen[4:8] == seen[:4], "R1 at the first step shows its reals a second time"
        return seen[4:]

    halves = shown("halves")
    assert sorted(halves) == list(range(16))
    # Micro-batch m of two takes the samples m and m + 2 of a batch of four.
    assert shown("whole", micro_batch=4) == np.reshape(halves, (-1, 2, 2)).mT.ravel().tolist()
    assert sorted(shown("plain", mirror=False, total_images=8)) == list(range(8))


def test_reals_go_with_their_labels_and_fakes_with_as_frequent_ones(
    config: GanConfig, images: Images, tmp_path: Path
) -> None:
    """Mirrored ones and those of R1 included; what the generator drew is judged as that class."""
    config = config.model_copy(update={"condition": "camera", "total_images": 32, "r1_interval": 4})
    originals = to_tensor(images)
    known = torch.cat([originals, originals.flip(3)])
    gan = build_gan(config, 1, CAMERAS)
    drawn: list[Tensor] = []
    reals: list[int] = []

    def remember(_: nn.Module, __: object, named: dict[str, Tensor], ___: object) -> None:
        drawn.append(named["labels"])

    def check(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        equal = (inputs[0][:, None] == known).all(dim=4).all(dim=3).all(dim=2)
        if equal.any():
            which = equal.nonzero()[:, 1] % len(images)
            assert inputs[1].tolist() == LABELS[which].tolist()
            reals.extend(which.tolist())
        else:
            assert torch.equal(inputs[1], drawn[-1])

    gan.generator.register_forward_hook(remember, with_kwargs=True)
    gan.discriminator.register_forward_pre_hook(check)
    train(config, images, tmp_path, gan)
    assert set(reals) == set(range(8))
    labels = torch.cat(drawn)
    assert len(labels) == 64  # for the generator, and for the discriminator
    shares = torch.bincount(labels, minlength=3) / len(labels)
    torch.testing.assert_close(shares, torch.tensor([5 / 8, 1 / 8, 2 / 8]), rtol=0, atol=0.16)


@pytest.mark.parametrize("micro_batch", [8, 4])
def test_accumulating_equals_the_batch_at_once(
    config: GanConfig, images: Images, tmp_path: Path, micro_batch: int
) -> None:
    """Two steps of 16 images, one with R1, with augmentation and groups in the discriminator."""
    whole = config.model_copy(
        update={"batch_size": 16, "micro_batch": 16, "total_images": 32, "ada": FIXED}
    )
    whole = whole.model_copy(update={"discriminator": "both"})
    expected = train(whole, images, tmp_path / "whole")
    parts = whole.model_copy(update={"micro_batch": micro_batch})
    actual = train(parts, images, tmp_path / "parts")
    for name in ("generator", "discriminator", "average", "projected"):
        states = (getattr(gan, name).state_dict() for gan in (actual, expected))
        # Adam moves a weight by up to the learning rate per step, whatever its gradient's size.
        torch.testing.assert_close(*states, rtol=1e-5, atol=config.discriminator_lr / 50)


def test_freeze_d_leaves_the_first_layers_alone(
    config: GanConfig, images: Images, tmp_path: Path
) -> None:
    frozen = config.model_copy(update={"freeze_discriminator": 3, "total_images": 8})
    start = build_gan(frozen, 1)
    moved = changed(start.discriminator, train(frozen, images, tmp_path / "a").discriminator)
    names = {name for name, _ in start.discriminator.named_parameters()}
    still = {name for name in names if name.startswith(("from_rgb", "blocks.0.conv"))}
    assert still
    assert moved == names - still
    too_many = config.model_copy(update={"freeze_discriminator": 9})
    with pytest.raises(UserError, match="cannot freeze 9 layers"):
        build_gan(too_many, 1)


@pytest.mark.parametrize("name", ["t", "r"])
def test_canvases_of_odd_sides_train(config: GanConfig, tmp_path: Path, name: str) -> None:
    """With augmentation, R1 and config R's blur."""
    sizes = {"height": 21, "width": 9, "total_images": 8, "ada": FIXED, "config": name}
    odd = config.model_copy(update=sizes)
    images = np.random.default_rng(0).integers(0, 256, (8, 21, 9, 3), dtype=np.uint8)
    start = build_gan(odd, 1)
    gan = train(odd, images, tmp_path)
    assert changed(start.generator, gan.generator)
    assert sample_images(gan.average, 2, seed=1).shape == (2, 21, 9, 3)


def test_samples_depend_on_the_seed_and_not_on_the_batch(config: GanConfig) -> None:
    generator = build_gan(config, 1).average
    images = sample_images(generator, 5, seed=3)
    assert images.shape == (5, 16, 8, 3)
    assert images.dtype == np.uint8
    parts = sample_images(generator, 5, seed=3, batch_size=2).astype(int)
    assert np.abs(parts - images).max() <= 1
    shares = [sample_images(generator, 5, seed=3, rows=slice(i, i + 3)) for i in (0, 3, 6)]
    assert [len(share) for share in shares] == [3, 2, 0]
    assert np.abs(np.concatenate(shares).astype(int) - images).max() <= 1
    assert (sample_images(generator, 5, seed=4) != images).any()
    assert np.ptp(sample_images(generator, 5, seed=3, truncation_psi=0.0), axis=0).max() <= 1


def test_sampling_shows_its_progress(config: GanConfig, capsys: pytest.CaptureFixture[str]) -> None:
    generator = build_gan(config, 1).average
    sample_images(generator, 5, seed=3, batch_size=2, rows=slice(3))
    assert capsys.readouterr().err.startswith("samples: 3/3 (")
    sample_images(generator, 5, seed=3, visible=False)
    assert capsys.readouterr().err == ""


def test_samples_of_a_conditional_generator(config: GanConfig) -> None:
    generator = build_gan(config.model_copy(update={"condition": "camera"}), 1, CAMERAS).average
    images = sample_images(generator, 64, seed=3)
    assert np.array_equal(images, sample_images(generator, 64, seed=3))
    parts = [sample_images(generator, 64, seed=3, rows=slice(i, i + 32)) for i in (0, 32)]
    assert np.abs(np.concatenate(parts).astype(int) - images).max() <= 1
    random = np.random.default_rng(3)
    z = torch.from_numpy(random.standard_normal((64, 8)).astype(np.float32))
    labels = torch.from_numpy(CAMERAS.draw(64, random))
    assert set(labels.tolist()) == {0, 1, 2}
    with torch.no_grad():
        expected = to_uint8(generator(z, labels=labels))
    assert np.abs(expected.astype(int) - images).max() <= 1


def test_losses_are_means_over_the_micro_batches(
    config: GanConfig, images: Images, tmp_path: Path
) -> None:
    logits: list[Tensor] = []
    gan, recorder = build_gan(config, 1), Recorder()
    gan.discriminator.register_forward_hook(lambda _, __, output: logits.append(output.detach()))
    once = config.model_copy(update={"total_images": config.batch_size})
    train(once, images, tmp_path, gan, recorder)
    (_, metrics) = recorder.points[0]
    generator, discriminator = logits[:2], logits[2:6]  # then fakes and reals in turn, then R1
    losses = [float(generator_loss(output)) for output in generator]
    assert losses[0] != losses[1]
    assert metrics["loss_generator"] == pytest.approx(sum(losses) / 2)
    for name, outputs in (("sign_fake", discriminator[::2]), ("sign_real", discriminator[1::2])):
        expected = torch.cat(outputs).sign().mean()
        assert metrics[name] == pytest.approx(float(expected)), name


def test_every_r1_penalty_and_gradient_norm_is_in_the_curves(
    config: GanConfig, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However rare the penalties are beside the points."""
    penalties: list[Tensor] = []

    def remembered(judge: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        penalties.append(r1_penalty(judge, images))
        return penalties[-1]

    monkeypatch.setattr(critic, "r1_penalty", remembered)
    recorder = Recorder()
    rarely = config.model_copy(update={"total_images": 52, "r1_interval": 3})
    train(rarely, images, tmp_path, tracker=recorder)
    points = {step: values for step, values in recorder.points if "loss_generator" in values}
    assert list(points) == [40, 52], "after ten steps, and at the end"
    means = [p.mean().item() for p in penalties]  # of two micro-batches each, in steps 0, 3, ... 12
    assert len(means) == 10
    assert points[40]["r1_penalty"] == pytest.approx(sum(means[:8]) / 8)
    assert points[52]["r1_penalty"] == pytest.approx(sum(means[8:]) / 2)
    for values in points.values():
        for name in ("generator", "discriminator", "discriminator_penalty"):
            assert values[f"gradient_norm_{name}"] > 0
        assert values["memory_gib"] > 0


def test_only_config_r_from_scratch_is_blurred(
    config: GanConfig, images: Images, tmp_path: Path
) -> None:
    def first_reals(name: str, transferred: bool = False) -> Tensor:
        seen: list[Tensor] = []
        one_step = config.model_copy(update={"config": name, "total_images": config.batch_size})
        gan = build_gan(one_step, 1)
        gan.discriminator.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        train(one_step, images, tmp_path / f"{name}-{transferred}", gan, transferred=transferred)
        # The reals of the discriminator's two micro-batches, and those of R1's, which are the same.
        assert torch.equal(torch.cat([seen[3], seen[5]]), torch.cat(seen[6:]))
        return seen[3].detach()

    sharp = first_reals("t")
    assert torch.equal(first_reals("r", transferred=True), sharp)
    torch.testing.assert_close(first_reals("r"), blur(sharp, 10.0))


def test_config_r_has_small_kernels_and_twice_the_channels(config: GanConfig) -> None:
    t, r = (build_gan(config.model_copy(update={"config": name}), 1) for name in ("t", "r"))
    layers = [gan.generator.synthesis.layers for gan in (t, r)]
    kernels = [{tuple(layer.weight.shape[2:]) for layer in some} for some in layers]
    assert kernels == [{(3, 3), (1, 1)}, {(1, 1)}]
    for narrow, wide in zip(*layers, strict=True):
        assert wide.weight.shape[1] == 2 * narrow.weight.shape[1]
    states = [gan.discriminator.state_dict() for gan in (t, r)]
    assert [v.shape for v in states[0].values()] == [v.shape for v in states[1].values()]


def test_a_diverged_run_says_what_to_lower_and_saves_nothing(
    config: GanConfig, images: Images, tmp_path: Path
) -> None:
    gan = build_gan(config, 1)
    with torch.no_grad():
        gan.discriminator.out.bias.fill_(math.nan)
    expected = r"loss_discriminator no longer finite at 8 images; lower gan\.generator_lr"
    with pytest.raises(UserError, match=expected):
        train(config, images, tmp_path, gan)
    assert ResumeState(tmp_path, "train_gan", "test").load() is None


def test_a_discriminator_that_is_not_asked_for_does_not_move(
    config: GanConfig, images: Images, tmp_path: Path
) -> None:
    alone = config.model_copy(update={"discriminator": "projected"})
    before = build_gan(alone, 1)
    after = train(alone, images, tmp_path)
    assert before.projected is not None
    assert after.projected is not None
    assert not changed(before.discriminator, after.discriminator)
    assert changed(before.projected, after.projected) == {
        f"heads.{name}" for name, _ in before.projected.heads.named_parameters()
    }
    assert changed(before.generator, after.generator)
    assert build_gan(config, 1).projected is None


def test_both_share_the_generators_loss_by_weight(
    config: GanConfig, images: Images, tmp_path: Path
) -> None:
    both = config.model_copy(update={"discriminator": "both", "projected_weight": 0.5})
    tracker = Recorder()
    train(both, images, tmp_path, tracker=tracker)
    for _, point in tracker.points:
        expected = point["loss_generator_discriminator"] + point["loss_generator_projected"]
        assert point["loss_generator"] == pytest.approx(expected, rel=1e-5)
    half = tracker.points[0][1]["loss_generator_projected"]
    again = Recorder()
    whole = both.model_copy(update={"projected_weight": 1.0, "total_images": 4})
    train(whole, images, tmp_path / "whole", tracker=again)
    assert {"projected_real", "projected_fake", "loss_projected"} <= tracker.points[0][1].keys()
    assert half != again.points[0][1]["loss_generator_projected"]


# Losses of 50 steps at a fixed seed, recorded when the projected discriminator came. They move with
# whatever changes what is trained; other processors and versions of PyTorch round otherwise.
CURVE = {
    "loss_generator_discriminator": (0.6961, 0.7035, 0.7153, 0.7348, 0.7635),
    "loss_generator_projected": (1.8852, 1.0910, 0.3676, 0.2858, 0.2597),
    "loss_discriminator": (1.3734, 1.3313, 1.2800, 1.2283, 1.1356),
    "loss_projected": (0.8112, 1.2723, 1.2488, 1.0702, 0.9123),
}


def test_the_curve_of_fifty_steps(config: GanConfig, tmp_path: Path) -> None:
    images = np.stack([np.full((16, 8, 3), 24 * shade, np.uint8) for shade in range(8)])
    both = config.model_copy(
        update={"discriminator": "both", "total_images": 200, "checkpoint_images": 200}
    )
    tracker = Recorder()
    train(both, images, tmp_path, tracker=tracker)
    for name, expected in CURVE.items():
        found = [point[name] for _, point in tracker.points]
        assert found == pytest.approx(expected, rel=0.02, abs=0.02), name
