import pytest
import torch

from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Blur, Discriminator, DiscriminatorBlock, last_map
from lookalike.stylegan3.loss import r1_penalty

from .golden import assert_close, discriminator_state, load


def test_logits_and_r1_equal_the_recorded_ones() -> None:
    arrays = load("discriminator_64.npz")
    discriminator = Discriminator(64, 64, channel_base=512, channel_max=16)
    discriminator.load_state_dict(discriminator_state(arrays))
    assert_close(discriminator(arrays["x"]), arrays["logits"])
    assert_close(r1_penalty(discriminator, arrays["x"]), arrays["r1_penalty"])


@pytest.mark.parametrize("down", [1, 2])
def test_blur_by_matrices_equals_blur_by_convolution(down: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 12, 6, requires_grad=True)
    blur = Blur((12, 6), padding=2 // down, down=down)
    results = []
    for way in (blur, blur.convolve):
        y = way(x)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), x)
        results.append((y, gradient, second))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_leaves_low_resolutions_alone(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(128, 64, channel_base=512, channel_max=8)
    seen: dict[str, torch.dtype] = {}
    for name, module in discriminator.named_modules():
        if (name.startswith("blocks.") and name.count(".") == 1) or name in ("conv", "fc"):
            module.register_forward_hook(
                lambda _, __, y, name=name: seen.__setitem__(name, y.dtype)
            )
    images = torch.randn(4, 3, 128, 64)
    full = discriminator(images)
    with torch.autocast("cpu", dtype=precision):
        mixed = discriminator(images)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, full, rtol=0.05, atol=0.05)
    reduced = {name for name, dtype in seen.items() if dtype == precision}
    assert reduced == {f"blocks.{i}" for i in range(4)} < seen.keys()


def test_rectangle_differs_in_the_fully_connected_layer_only() -> None:
    square = Discriminator(64, 64, channel_base=512, channel_max=16).state_dict()
    tall = Discriminator(64, 32, channel_base=512, channel_max=16)
    assert tall(torch.randn(4, 3, 64, 32)).shape == (4, 1)
    state = tall.state_dict()
    assert state.keys() == square.keys()
    different = [name for name in state if state[name].shape != square[name].shape]
    assert different == ["fc.weight"]
    assert state["fc.weight"].shape == (16, 16 * 4 * 2)


def test_minibatch_std_needs_whole_groups() -> None:
    discriminator = Discriminator(16, 16, channel_base=64, channel_max=4)
    with pytest.raises(ValueError, match="multiple of 4"):
        discriminator(torch.randn(6, 3, 16, 16))
    # A batch smaller than a group is a group of its own.
    assert discriminator(torch.randn(3, 3, 16, 16)).shape == (3, 1)


@pytest.mark.parametrize(
    ("size", "last"),
    [
        ((128, 64), (4, 2)),  # as ever
        ((128, 48), (4, 2)),
        ((72, 128), (3, 4)),
        ((256, 80), (4, 2)),
        ((128, 8), (4, 1)),
        ((96, 96), (6, 6)),
        ((160, 64), (5, 2)),
    ],
)
def test_it_takes_whatever_the_generator_makes(
    size: tuple[int, int], last: tuple[int, int]
) -> None:
    GeneratorConfig(*size)
    torch.manual_seed(0)
    discriminator = Discriminator(*size, channel_base=512, channel_max=4)
    assert last_map(*size) == last
    assert discriminator.fc.weight.shape[1] == 4 * last[0] * last[1]
    images = torch.randn(1, 3, *size, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images)
    assert gradient.abs().amax(1).gt(0).all(), "every pixel counts"


def test_odd_sides_get_a_line_of_zeros() -> None:
    torch.manual_seed(0)
    odd, even = DiscriminatorBlock(2, 3, (7, 3)), DiscriminatorBlock(2, 3, (8, 4))
    even.load_state_dict(odd.state_dict())
    x = torch.randn(2, 2, 7, 3)
    y = odd(x)
    assert y.shape == (2, 3, 4, 2)
    assert torch.equal(y, even(torch.nn.functional.pad(x, (0, 1, 0, 1))))


def test_convolutions_fit_any_size_between_two_powers_of_two() -> None:
    power = Discriminator(64, 32, channel_base=512, channel_max=64).state_dict()
    between = Discriminator(96, 36, channel_base=512, channel_max=64).state_dict()
    different = [name for name in power if power[name].shape != between[name].shape]
    assert different == ["fc.weight"]


@pytest.mark.parametrize("size", [(4, 4), (64, 0)])
def test_impossible_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}"):
        Discriminator(*size)


def test_frozen_layers_are_counted_from_the_input() -> None:
    discriminator = Discriminator(32, 16, channel_base=64, channel_max=4)
    names = {id(p): name for name, p in discriminator.named_parameters()}

    def trained(frozen: int) -> set[str]:
        return {names[id(p)] for p in discriminator.trainable_parameters(frozen)}

    assert trained(0) == set(names.values())
    order = ["from_rgb"]
    order += [f"blocks.{i}.{layer}" for i in range(3) for layer in ("conv0", "conv1", "skip")]
    for count, layer in enumerate(order):
        still = {name for name in names.values() if name.startswith(f"{layer}.")}
        assert still
        assert trained(count) - trained(count + 1) == still
    assert {name.split(".")[0] for name in trained(10)} == {"conv", "fc", "out"}
    with pytest.raises(ValueError, match="cannot freeze 11 layers of a discriminator with 10"):
        trained(11)
