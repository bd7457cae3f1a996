import numpy as np
import pytest

from lookalike.stylegan3.filters import (
    design_lowpass,
    design_radial_lowpass,
    downsample_matrix,
    separable_terms,
    upsample_matrix,
)

from .golden import load, load_json


def test_filters_equal_the_recorded_ones() -> None:
    arrays = load("stylegan3_t_64.npz")
    for layer in load_json("stylegan3_t_64.json")["design"]["layers"][:-1]:
        prefix, rate = f"G.synthesis.{layer['name']}", layer["tmp_sampling_rate"]
        up = design_lowpass(layer["up_taps"], layer["in_cutoff"], layer["in_half_width"], rate)
        down = design_lowpass(
            layer["down_taps"], layer["out_cutoff"], layer["out_half_width"], rate
        )
        np.testing.assert_allclose(up, arrays[f"{prefix}.up_filter"], atol=1e-6)
        np.testing.assert_allclose(down, arrays[f"{prefix}.down_filter"], atol=1e-6)


def test_one_tap_is_the_identity() -> None:
    assert design_lowpass(1, 1.0, 1.0, 4.0).tolist() == [1.0]


def test_radial_filter() -> None:
    kernel = design_radial_lowpass(12, cutoff=4.0, half_width=4.0, sampling_rate=32.0)
    assert kernel.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-15)
    np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-15)
    # The window is separable, the jinc is not: more than one term, at most half the taps.
    terms = separable_terms(kernel)
    assert 1 < len(terms) <= 6
    rebuilt = sum(np.outer(row, column) for row, column in terms)
    np.testing.assert_allclose(rebuilt, kernel, atol=1e-7)


@pytest.mark.parametrize("padding", [(5, 4), (-2, -3), (-2, 4)])
def test_upsample_matrix_is_zero_insertion_padding_convolution(padding: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, kernel, up = rng.normal(size=13), rng.normal(size=6), 3
    signal = np.zeros(13 * up)
    signal[::up] = x
    low, high = padding
    signal = np.pad(signal, (max(low, 0), max(high, 0)))
    signal = signal[max(-low, 0) : len(signal) - max(-high, 0)]
    expected = 2 * np.convolve(signal, kernel, mode="valid")
    actual = upsample_matrix(kernel, 13, up, padding, gain=2.0) @ x
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("size", [20, 21])
def test_downsample_matrix_is_convolution_decimation(size: int) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=size), rng.normal(size=5)
    expected = np.convolve(x, kernel, mode="valid")[::2]
    np.testing.assert_allclose(downsample_matrix(kernel, size, 2) @ x, expected, atol=1e-12)


def test_signals_shorter_than_the_filter_are_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        downsample_matrix(np.ones(12), 8, 2)
    with pytest.raises(ValueError, match="too short"):
        upsample_matrix(np.ones(12), 3, 2, (0, 0))
