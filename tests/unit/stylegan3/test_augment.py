"""Augmentation: each transform against its formula, its statistics, R1 through it, and p."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lookalike.config import AdaConfig, Transform
from lookalike.stylegan3.augment import DRAWS, Adaptation, Augment
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.loss import r1_penalty

CPU = torch.device("cpu")
ALL = tuple(DRAWS)
LUMA = 1 / 3  # of each channel


def apply(images: Tensor, name: Transform, *strength: float) -> Tensor:
    """Every image with the same strength of one transform."""
    augment = Augment(images.shape[2], images.shape[3], [name]).to(images.dtype)
    values = torch.tensor(strength, dtype=images.dtype).expand(len(images), -1)
    return augment(images, {name: values})


def smooth(height: int, width: int) -> Tensor:
    """Low frequencies that go on smoothly where the image is reflected; no symmetry."""
    y = torch.arange(height)[:, None] * (math.pi / (height - 1))
    x = torch.arange(width) * (math.pi / (width - 1))
    planes = [y.cos() + (2 * x).cos(), (2 * y).cos() * x.cos() + x.cos(), (y.cos() + x.cos()) / 2]
    return torch.stack(planes)[None]


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(4, 3, 16, 8) * 2 - 1


def test_x_flip(images: Tensor) -> None:
    assert torch.equal(apply(images, "x-flip", 1), images.flip(3))
    assert torch.equal(apply(images, "x-flip", 0), images)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_quarter_turns(turns: int) -> None:
    square, tenth_of_a_pixel = smooth(32, 32), 0.03  # the filter is not quite symmetric
    turned = apply(square, "quarter-turn", turns)
    expected = torch.rot90(square, turns, (2, 3))
    torch.testing.assert_close(turned, expected, rtol=0, atol=tenth_of_a_pixel)
    # A rectangle keeps its shape: the turned image's middle, and its reflection above and below.
    tall = smooth(64, 32)
    middle = torch.rot90(tall, turns, (2, 3))
    turned = apply(tall, "quarter-turn", turns)
    if turns % 2:
        middle, turned = middle[:, :, :, 16:48], turned[:, :, 16:48]
    torch.testing.assert_close(turned, middle, rtol=0, atol=tenth_of_a_pixel)


def test_shifts_are_parts_of_the_sides(images: Tensor) -> None:
    right_down = apply(images, "integer-shift", 0.125, 0.125)  # by 1 and 2 pixels
    torch.testing.assert_close(right_down[:, :, 2:, 1:], images[:, :, :-2, :-1], atol=1e-5, rtol=0)
    nearly = apply(images, "integer-shift", 0.08, 0.15)  # rounded: the same
    torch.testing.assert_close(nearly, right_down, rtol=0, atol=1e-5)
    free = apply(images, "fractional-shift", 0.125, 0.125)
    torch.testing.assert_close(free[:, :, 8:12, 4:6], images[:, :, 6:10, 3:5], atol=0.01, rtol=0)
    # Half a pixel to the left, between two samples of a slow wave.
    wave = smooth(64, 64)
    between = (wave[:, :, :, 1:] + wave[:, :, :, :-1]) / 2
    moved = apply(wave, "fractional-shift", -0.5 / 64, 0)[:, :, :, :-1]
    torch.testing.assert_close(moved, between, rtol=0, atol=0.01)


def test_scales_and_rotations_move_points_where_they_should() -> None:
    """The centre of mass of a bright spot right of the centre."""
    spot, size = torch.full((1, 3, 65, 65), -1.0), 65
    y, x = torch.meshgrid(torch.arange(size) - 32.0, torch.arange(size) - 32.0, indexing="ij")
    spot[0] = 2 * torch.exp2(-((x - 10) ** 2 + y**2) / 4) - 1

    def place(images: Tensor) -> tuple[float, float]:
        mass = (images[0, 0] + 1) * (x.square() + y.square() < 26**2)  # without reflections
        return float((mass * x).sum() / mass.sum()), float((mass * y).sum() / mass.sum())

    expected: list[tuple[Transform, tuple[float, ...], tuple[float, float]]] = [
        ("scale", (0.5,), (10 * 2**0.5, 0)),
        ("scale", (-0.5,), (10 / 2**0.5, 0)),
        ("anisotropic-scale", (0.5,), (10 * 2**0.5, 0)),
        ("rotation", (math.pi / 2, 0), (0, -10)),
        ("rotation", (math.pi / 4, math.pi / 4), (0, -10)),
    ]
    for name, strength, where in expected:
        assert place(apply(spot, name, *strength)) == pytest.approx(where, abs=0.1), name
    augment = Augment(size, size, ["rotation", "anisotropic-scale"])
    both = augment(
        spot,
        {"rotation": torch.tensor([[math.pi / 2, 0]]), "anisotropic-scale": torch.tensor([[0.5]])},
    )
    assert place(both) == pytest.approx((0, -10 / 2**0.5), abs=0.1), (
        "turned up, then squeezed from above"
    )


def test_colours(images: Tensor) -> None:
    luma = images.mean(1, keepdim=True)

    def check(name: Transform, strength: float, expected: Tensor) -> None:
        torch.testing.assert_close(apply(images, name, strength), expected, rtol=0, atol=1e-5)

    check("brightness", 0.2, images + 0.2)
    check("contrast", 1, images * 2)
    check("saturation", 1, luma + 2 * (images - luma))
    check("saturation", -30, luma.expand_as(images))
    check("luma-flip", 1, images - 2 * luma)
    check("hue", 0, images)
    check("hue", 2 * math.pi / 3, images.roll(1, 1))  # red becomes green becomes blue
    check("hue", -2 * math.pi / 3, images.roll(-1, 1))
    augment = Augment(16, 8, ["brightness", "contrast"])
    both = {"brightness": torch.full((4, 1), 0.2), "contrast": torch.ones(4, 1)}
    torch.testing.assert_close(augment(images, both), 2 * (images + 0.2))


def test_p_0_is_the_identity(images: Tensor) -> None:
    chosen = Augment(16, 8, ALL).draw(1000, 0.0, CPU)
    assert not any(strength.any() for strength in chosen.values())
    # An image that the tosses pass by, beside others that they do not.
    none = {name: torch.zeros(4, width) for name, (width, _) in DRAWS.items()}
    some = {name: value.index_fill(0, torch.tensor(1), 0.5) for name, value in none.items()}
    augmented = Augment(16, 8, ALL)(images, some)
    torch.testing.assert_close(augmented[[0, 2, 3]], images[[0, 2, 3]], rtol=0, atol=2e-5)
    assert not torch.allclose(augmented[1], images[1], atol=0.1)


def test_only_what_is_switched_on(images: Tensor) -> None:
    only = AdaConfig(initial_p=1, target=None, images=1, max_p=1).transforms
    assert set(ALL) - set(only) == {"quarter-turn", "luma-flip", "hue"}
    chosen = Augment(16, 8, only).draw(4, 1.0, CPU)
    assert set(chosen) == set(only)
    flipping = Augment(16, 8, ["x-flip"])
    seen = flipping(images, flipping.draw(4, 1.0, CPU))
    for image, result in zip(images, seen, strict=True):
        assert torch.equal(result, image) or torch.equal(result, image.flip(2))


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_strengths_are_drawn_as_the_paper_says(p: float) -> None:
    torch.manual_seed(0)
    count = 20_000
    chosen = Augment(8, 8, ALL).draw(count, p, CPU)
    deviations = {"scale": 0.2, "anisotropic-scale": 0.2, "fractional-shift": 0.125}
    deviations |= {"brightness": 0.2, "contrast": 0.5, "saturation": 1.0}
    for name, strength in chosen.items():
        touched = (strength != 0).any(dim=1)
        values = strength[touched]
        if name in deviations:
            assert float(values.std()) == pytest.approx(deviations[name], rel=0.05), name
        elif name in ("integer-shift", "rotation", "hue"):
            limit = 0.125 if name == "integer-shift" else math.pi
            values = strength[strength != 0]
            assert 0.99 * limit < float(values.abs().max()) <= limit, name
            assert float(values.std()) == pytest.approx(limit / 3**0.5, rel=0.05), name
        # A choice among n leaves the image alone once in n.
        options = {"x-flip": 2, "quarter-turn": 4, "luma-flip": 2}.get(name)
        share = p * (1 - 1 / options) if options else p
        assert float(touched.float().mean()) == pytest.approx(share, abs=0.015), name
    each = 1 - math.sqrt(1 - p)
    assert float((chosen["rotation"] != 0).float().mean()) == pytest.approx(each, abs=0.015)


def test_random_numbers_are_torchs(images: Tensor) -> None:
    augment = Augment(16, 8, ALL)

    def drawn(of: Tensor) -> Tensor:
        seen: Tensor = augment(of, augment.draw(4, 0.8, CPU))
        return seen

    torch.manual_seed(5)
    first = drawn(images)
    assert not torch.equal(drawn(images), first)
    torch.manual_seed(5)
    assert torch.equal(drawn(images), first)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):  # full precision inside, whatever is outside
        assert drawn(images.bfloat16()).dtype == torch.float32


def test_r1_through_it_equals_a_slow_reference() -> None:
    """The augmentation as one dense matrix over pixels, through which PyTorch knows its way."""
    torch.manual_seed(0)
    height, width = 16, 8
    discriminator = Discriminator(height, width, channel_base=64, channel_max=4).double()
    images = torch.randn(4, 3, height, width, dtype=torch.double)
    augment = Augment(height, width, ALL).double()
    strengths = {n: s.double() for n, s in augment.draw(4, 0.9, CPU).items()}

    size = 3 * height * width
    basis = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().view(-1, 3, height, width)
    matrices, offsets = [], []
    for i in range(4):
        same = {name: value[i].expand(size + 1, -1) for name, value in strengths.items()}
        columns = augment(basis, same).flatten(1)
        offsets.append(columns[0])
        matrices.append((columns[1:] - columns[0]).T)
    dense, offset = torch.stack(matrices), torch.stack(offsets)

    def slow(x: Tensor) -> Tensor:
        seen = (dense @ x.flatten(1)[:, :, None])[:, :, 0] + offset
        return discriminator(seen.view_as(x))

    def fast(x: Tensor) -> Tensor:
        return discriminator(augment(x, strengths))

    torch.testing.assert_close(fast(images), slow(images))
    weights = [p for name, p in discriminator.named_parameters() if name != "out.bias"]
    penalties = [r1_penalty(judge, images) for judge in (fast, slow)]
    torch.testing.assert_close(*penalties)
    assert bool((penalties[0] > 0).all())
    for ours, theirs in zip(
        *(torch.autograd.grad(penalty.mean(), weights) for penalty in penalties), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def adapted(signs: list[float], **changes: object) -> Adaptation:
    settings = {"initial_p": 0.0, "target": 0.6, "images": 1000, "max_p": 0.8, **changes}
    adaptation = Adaptation(AdaConfig.model_validate(settings), batch_size=25)
    for sign in signs:
        adaptation.observe(torch.tensor(sign))
    return adaptation


def test_p_follows_the_signs() -> None:
    assert adapted([1.0] * 3).p == 0, "every fourth step"
    assert adapted([1.0] * 4).p == pytest.approx(0.1), "100 of 1000 images"
    assert adapted([1.0] * 11).p == pytest.approx(0.2)
    assert adapted([0.7, 0.7, 0.7, 0.4]).p == pytest.approx(0.1), "the mean of four steps counts"
    assert adapted([1.0] * 4 + [0.5] * 4).p == pytest.approx(0)
    assert adapted([1.0] * 4 + [0.2, 0.9, -0.5, 0.4]).metrics() == {
        "ada_p": pytest.approx(0),
        "ada_sign": pytest.approx(0.25),
    }


def test_p_stays_within_its_bounds() -> None:
    assert adapted([-1.0] * 8).p == 0
    assert adapted([1.0] * 400).p == 0.8
    assert adapted([1.0] * 400, target=None, initial_p=0.3).p == 0.3, "fixed"
    with pytest.raises(ValueError, match="initial_p must not be larger than max_p"):
        adapted([], initial_p=0.9)


def test_p_goes_on_where_it_was() -> None:
    signs = [1.0] * 6 + [0.1] * 5 + [0.9] * 4
    for killed_at in range(len(signs)):
        resumed = adapted([0.3] * 2)  # everything comes from the state
        resumed.load_state_dict(adapted(signs[:killed_at]).state_dict())
        for sign in signs[killed_at:]:
            resumed.observe(torch.tensor(sign))
        assert resumed.state_dict() == adapted(signs).state_dict()
