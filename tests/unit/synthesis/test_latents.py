from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.latents import (
    interpolate,
    layer_group,
    style_mix,
    ws_from_seeds,
    z_from_seed,
)


def test_seeds_give_the_same_latents_everywhere() -> None:
    """The first numbers of PCG64's stream, written down once."""
    torch.testing.assert_close(
        z_from_seed(17, 3), torch.tensor([1.1012625, 0.3384313, -0.5399715]), rtol=0, atol=1e-6
    )
    assert torch.equal(z_from_seed(17, 64)[:3], z_from_seed(17, 3))
    assert not torch.equal(z_from_seed(17, 3), z_from_seed(18, 3))


def test_study_groups() -> None:
    assert layer_group("coarse", 16) == range(5)
    assert layer_group("medium", 16) == range(5, 12)
    assert layer_group("fine", 16) == range(12, 16)


@given(st.integers(3, 40))
def test_groups_cover_all_styles_without_overlap(num_ws: int) -> None:
    groups = [layer_group(name, num_ws) for name in ("coarse", "medium", "fine")]
    assert all(groups)
    assert [layer for group in groups for layer in group] == list(range(num_ws))


def test_too_few_styles() -> None:
    with pytest.raises(ValueError, match="2 styles"):
        layer_group("coarse", 2)


def test_style_mix_replaces_the_group_alone() -> None:
    a, b = torch.zeros(2, 16, 4), torch.ones(2, 16, 4)
    mixed = style_mix(a, b, "medium")
    assert mixed[:, 5:12].eq(1).all()
    assert mixed[:, :5].eq(0).all()
    assert mixed[:, 12:].eq(0).all()
    assert a.eq(0).all()


def test_interpolate() -> None:
    a, b = torch.randn(2, 6, 4)
    assert torch.equal(interpolate(a, b, 0.0), a)
    torch.testing.assert_close(interpolate(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_truncation_is_the_generator_s(generator: Generator) -> None:
    ws = ws_from_seeds(generator, [3, 4, 5], [0.0, 0.6, 1.0])
    z = torch.stack([z_from_seed(seed, 8) for seed in (3, 4, 5)])
    assert torch.equal(ws[0], generator.mapping.w_avg.expand(generator.num_ws, -1))
    torch.testing.assert_close(ws[1], generator.mapping(z, truncation_psi=0.6)[1])
    torch.testing.assert_close(ws[2], generator.mapping(z)[2])
