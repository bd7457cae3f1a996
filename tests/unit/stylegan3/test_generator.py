import dataclasses

import pytest
import torch

from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.generator import Generator

from .golden import assert_close, generator_state, load

ARRAYS = load("stylegan3_t_64.npz")
GOLDEN = GeneratorConfig(64, 64, z_dim=32, w_dim=32, channel_base=1024, channel_max=32)
SMALL = GeneratorConfig(64, 64, z_dim=16, w_dim=16, channel_base=512, channel_max=16, num_layers=8)


@pytest.fixture(scope="module")
def golden() -> Generator:
    generator = Generator(GOLDEN).eval().requires_grad_(False)
    generator.load_state_dict(generator_state(ARRAYS))
    return generator


@pytest.fixture
def small() -> Generator:
    torch.manual_seed(0)
    return Generator(SMALL)


def test_image(golden: Generator) -> None:
    assert_close(golden.mapping(ARRAYS["z"]), ARRAYS["ws"])
    assert_close(golden(ARRAYS["z"]), ARRAYS["image"])


def test_truncated_image(golden: Generator) -> None:
    ws = golden.mapping(ARRAYS["z"], truncation_psi=0.7)
    assert_close(ws, ARRAYS["ws_psi07"])
    assert_close(golden.synthesis(ws), ARRAYS["image_psi07"])


def test_transformed_image(golden: Generator) -> None:
    images = golden.synthesis(ARRAYS["ws"], transform=ARRAYS["transform"])
    assert_close(images, ARRAYS["image_transformed"])


def test_style_mixing(golden: Generator) -> None:
    ws = ARRAYS["ws"][:1].clone()
    ws[:, 8:] = ARRAYS["ws"][1:2, 8:]
    assert_close(golden.synthesis(ws), ARRAYS["image_mix_0_1_from8"])


def test_state_holds_what_a_checkpoint_needs_and_no_filters(small: Generator) -> None:
    state = small.state_dict()
    assert {"mapping.w_avg", "synthesis.input.frequencies", "synthesis.input.phases"} <= set(state)
    assert "synthesis.layers.0.magnitude_ema" in state
    assert not [name for name in state if "rows" in name or "columns" in name or "grid" in name]


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(("side", "width"), [(64, 32), (50, 34), (98, 50)])
def test_rectangle_is_the_square_canvas_centre(side: int, width: int, radial: bool) -> None:
    """Also where no side is a whole number of the coarse layers' samples."""
    torch.manual_seed(0)
    canvas = dataclasses.replace(SMALL, height=side, width=side, radial=radial)
    square, tall = Generator(canvas), Generator(dataclasses.replace(canvas, width=width))
    tall.load_state_dict(square.state_dict())
    z = torch.randn(2, SMALL.z_dim)
    left, centre = (side - width) // 2, slice(width // 2 - 4, width // 2 + 4)
    with torch.no_grad():
        expected, actual = square(z)[..., left : left + width], tall(z)
    assert actual.shape == (2, 3, side, width)
    difference = (actual - expected).abs().amax((0, 1, 2)) / expected.std()
    assert difference[centre].max() < 1e-4
    # Towards its own border the rectangle lacks what the square has beyond it.
    assert difference[0] > difference[centre].max()


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (48, 48), (50, 50), (50, 33), (64, 33), (37, 41)])
def test_translation_moves_the_image(size: tuple[int, int], radial: bool) -> None:
    """Equivariance, what StyleGAN3 is for: moving the input by pixels moves the image."""
    torch.manual_seed(0)
    height, width = size
    small = Generator(dataclasses.replace(SMALL, height=height, width=width, radial=radial))
    with torch.no_grad():
        ws = small.mapping(torch.randn(2, SMALL.z_dim))
        still = small.synthesis(ws)
    # Four pixels are a whole sample of the coarsest layer, one pixel is a fraction.
    for pixels, limit in ((4, 1e-4), (1, 5e-3)):
        for axis in (0, 1):
            transform = torch.eye(3)
            transform[axis, 2] = pixels / max(size)
            with torch.no_grad():
                moved = small.synthesis(ws, transform=transform)
            if axis == 1:
                moved, before = moved.mT, still.mT
            else:
                before = still
            moved, before = moved[..., 8:-8, 8 : -8 - pixels], before[..., 8:-8, 8 + pixels : -8]
            assert (moved - before).std() < limit * still.std()


def test_image_does_not_depend_on_its_batch(small: Generator) -> None:
    z = torch.randn(3, SMALL.z_dim)
    with torch.no_grad():
        torch.testing.assert_close(small(z)[1:2], small(z[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("radial", [False, True])
def test_gradient_of_the_whole_network(radial: bool) -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(
        16, 8, z_dim=4, w_dim=4, channel_base=64, channel_max=4, num_layers=3, margin=2,
        radial=radial,
    )  # fmt: skip
    generator = Generator(config).double()
    with torch.no_grad():
        generator.synthesis.input.affine.weight.normal_(std=0.1)
    z = torch.randn(2, 4, dtype=torch.double)
    projection = torch.randn(2, 3, 16, 8, dtype=torch.double)
    parameters = list(generator.parameters())

    def loss() -> torch.Tensor:
        return (generator.synthesis(generator.mapping(z)) * projection).sum()

    gradients = torch.autograd.grad(loss(), parameters)
    directions = [torch.randn_like(parameter) for parameter in parameters]
    expected = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    step = 1e-7
    with torch.no_grad():
        sides = []
        for sign in (1, -2):
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += sign * step * direction
            sides.append(loss())
    actual = (sides[0] - sides[1]) / (2 * step)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def test_statistics_of_micro_batches_average_to_the_batch(small: Generator) -> None:
    z = torch.randn(4, SMALL.z_dim)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    with torch.no_grad():
        small(z, collect_statistics=True)
        whole = small.pending_statistics()
        parts = []
        for half in z.chunk(2):
            small(half, collect_statistics=True)
            parts.append(small.pending_statistics())
    assert len(whole) == 1 + SMALL.num_layers + 1
    for name, value in whole.items():
        torch.testing.assert_close((parts[0][name] + parts[1][name]) / 2, value)
    # Nothing moves before the statistics are applied, and they are taken only once.
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())
    assert small.pending_statistics() == {}

    small.apply_statistics(whole, batch_size=4)
    magnitude = 1 - 0.5 ** (4 / 20_000)
    for name, value in whole.items():
        rate = 1 - 0.998 if name == "mapping.w_avg" else magnitude
        torch.testing.assert_close(
            small.get_buffer(name), before[name] + rate * (value - before[name])
        )


def test_nothing_is_collected_unasked(small: Generator) -> None:
    small(torch.randn(2, SMALL.z_dim))
    assert small.pending_statistics() == {}


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_reaches_the_last_octaves_only(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    generator = Generator(
        GeneratorConfig(
            256, 16, z_dim=16, w_dim=16, channel_base=512, channel_max=8, num_layers=8, margin=2
        )
    )
    seen: list[torch.dtype] = []
    for layer in generator.synthesis.layers:
        layer.register_forward_hook(lambda _, __, y: seen.append(y.dtype))
    z = torch.randn(2, 16)
    full = generator(z)
    seen.clear()
    with torch.autocast("cpu", dtype=precision):
        mixed = generator(z)
    mixed.sum().backward()
    assert (mixed - full).std() < 0.05 * full.std()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())
    # Sampled at 16, 16, 32, ... per side of 256: four octaves are 256 to 32. ToRGB is float32.
    rates = [layer.out_sampling_rate for layer in generator.synthesis.design.layers[:-1]]
    assert rates[:3] == [16, 16, 32]
    assert [dtype == precision for dtype in seen] == [rate >= 32 for rate in rates] + [False]
    assert mixed.dtype == torch.float32
