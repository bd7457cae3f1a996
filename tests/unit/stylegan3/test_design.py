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


@pytest.mark.parametrize("size", [(96, 96), (64, 33), (64, 0), (8, 8)])
def test_impossible_canvases_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"canvas {size[0]}x{size[1]}"):
        GeneratorConfig(*size)


def test_too_few_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="num_layers"):
        GeneratorConfig(64, 64, num_layers=2)
