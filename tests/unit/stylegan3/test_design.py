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


@pytest.mark.parametrize("size", [(16, 3), (96, 96), (160, 64), (80, 256), (144, 80), (128, 8)])
def test_every_layer_of_a_canvas_has_whole_sizes(size: tuple[int, int]) -> None:
    config = GeneratorConfig(*size)
    design, side = build_design(config), max(size)
    for layer in design.layers:
        rate = layer.out_sampling_rate
        margin = 0 if layer.out_size == size else 2 * config.margin
        assert [s - margin for s in layer.out_size] == [rate * pixels / side for pixels in size]
        stopband = layer.out_cutoff + layer.out_half_width
        assert rate == side or stopband <= rate / 2
    assert design.layers[-1].out_sampling_rate == side
    assert 8.5 < design.input.sampling_rate <= 17.2  # twice the first stopband, and up to twice it


@pytest.mark.parametrize("size", [(64, 0), (8, 8), (15, 15)])
def test_canvases_without_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"canvas {size[0]}x{size[1]}: the longer side"):
        GeneratorConfig(*size)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((64, 33), "64x32 or 64x36"),
        ((100, 50), "96x48 or 104x56"),
        ((50, 100), "48x96 or 56x104"),
        ((250, 250), "240x240 or 256x256"),
        ((128, 3), "128x8"),
        ((137, 137), "136x136 or 144x144"),
    ],
)
def test_an_impossible_canvas_is_told_the_nearest_ones(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(ValueError, match=f"nearest: {nearest}$"):
        GeneratorConfig(*size)
    for canvas in nearest.split(" or "):
        GeneratorConfig(*map(int, canvas.split("x")))


def test_too_few_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="num_layers"):
        GeneratorConfig(64, 64, num_layers=2)
