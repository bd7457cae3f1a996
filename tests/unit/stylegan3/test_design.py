from typing import Any

import pytest

from lookalike.stylegan3.design import GeneratorConfig, build_design

from .golden import load_json

TABLES: dict[str, Any] = load_json("designs.json")
# Names of the kernels' precision and of modules are the recorder's own business.
IGNORED = {"name", "use_fp16"}


def assert_equal_tables(config: GeneratorConfig, expected: dict[str, Any]) -> None:
    design = build_design(config)
    for field, value in expected["input"].items():
        actual = getattr(design.input, field)
        assert (list(actual) if isinstance(actual, tuple) else actual) == value, field
    assert len(design.layers) == len(expected["layers"])
    for i, (layer, row) in enumerate(zip(design.layers, expected["layers"], strict=True)):
        for field in row.keys() - IGNORED:
            actual, value = getattr(layer, field), row[field]
            if isinstance(actual, tuple):
                assert list(actual) == value, (i, field)
            else:
                assert actual == pytest.approx(value, rel=1e-12), (i, field)


@pytest.mark.parametrize("name", TABLES)
def test_tables_equal_the_recorded_ones(name: str) -> None:
    _, kind, resolution, channel_base = name.split("-")
    radial = kind == "r"
    config = GeneratorConfig(
        height=int(resolution),
        width=int(resolution),
        channel_base=int(channel_base.removeprefix("cbase")) * (1 + radial),
        channel_max=512 * (1 + radial),
        radial=radial,
    )
    assert_equal_tables(config, TABLES[name])


def test_table_of_the_golden_generator() -> None:
    config = GeneratorConfig(64, 64, z_dim=32, w_dim=32, channel_base=1024, channel_max=32)
    assert_equal_tables(config, load_json("stylegan3_t_64.json")["design"])


def test_rectangle_changes_sizes_only() -> None:
    square = build_design(GeneratorConfig(256, 256))
    tall = build_design(GeneratorConfig(256, 128))
    for a, b in zip(square.layers, tall.layers, strict=True):
        assert b.out_size[0] == a.out_size[0]
        assert b.out_size[1] < a.out_size[1]
        assert (b.in_channels, b.out_channels) == (a.in_channels, a.out_channels)
        assert (b.out_cutoff, b.out_half_width) == (a.out_cutoff, a.out_half_width)
        assert (b.up_factor, b.down_factor) == (a.up_factor, a.down_factor)
    assert tall.input.size == (36, 28)
    assert tall.layers[-1].out_size == (256, 128)


SIZES = [(16, 3), (96, 96), (160, 64), (80, 256), (144, 80), (128, 8)]
ODD_SIZES = [(100, 50), (250, 250), (64, 33), (33, 64), (137, 51), (17, 1), (16, 15)]


@pytest.mark.parametrize("size", SIZES + ODD_SIZES)
def test_every_layer_covers_the_canvas(size: tuple[int, int]) -> None:
    config = GeneratorConfig(*size)
    design, side = build_design(config), max(size)
    for layer in design.layers:
        rate = layer.out_sampling_rate
        margin = 0 if layer.out_size == size else 2 * config.margin
        exact = [rate * pixels / side for pixels in size]
        beyond = [s - margin - e for s, e in zip(layer.out_size, exact, strict=True)]
        assert all(0 <= samples < 1 for samples in beyond)
        assert size not in SIZES or beyond == [0, 0]
        stopband = layer.out_cutoff + layer.out_half_width
        assert rate == side or stopband <= rate / 2
    assert [layer.out_size for layer in design.layers[-2:]] == [size, size]
    assert design.layers[-1].out_sampling_rate == side
    assert 8.5 < design.input.sampling_rate <= 17.2  # twice the first stopband, and up to twice it


@pytest.mark.parametrize("size", SIZES + ODD_SIZES)
def test_no_layer_moves_the_centre(size: tuple[int, int]) -> None:
    for layer in build_design(GeneratorConfig(*size)).layers[:-1]:
        for axis, (low, high) in enumerate((layer.padding[2:], layer.padding[:2])):
            count = layer.in_size[axis] + layer.conv_kernel - 1
            padded = count * layer.up_factor + low + high
            # Both in samples at the temporary rate: of the input, and of what the filters yield.
            centre = low + (count - 1) / 2 * layer.up_factor
            reach = layer.up_taps + layer.down_taps - 2
            kept = (layer.out_size[axis] - 1) * layer.down_factor
            assert padded == kept + 1 + reach
            assert centre == (kept + reach) / 2


@pytest.mark.parametrize("size", [(64, 0), (8, 8), (15, 15)])
def test_canvases_without_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"canvas {size[0]}x{size[1]}: the longer side"):
        GeneratorConfig(*size)


def test_too_few_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="num_layers"):
        GeneratorConfig(64, 64, num_layers=2)
