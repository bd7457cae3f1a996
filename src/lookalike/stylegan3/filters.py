"""Low-pass filters and the matrices that apply them along one axis.

Upsampling by zero-insertion, padding or cropping, FIR filtering and decimation are all linear
along each axis, so each chain of them is one small banded matrix, built here in float64.
"""

import numpy as np
import numpy.typing as npt
import scipy.signal
import scipy.special

Array = npt.NDArray[np.float64]

RANK_TOLERANCE = 1e-7


def design_lowpass(taps: int, cutoff: float, half_width: float, sampling_rate: float) -> Array:
    """Kaiser-windowed low-pass filter of unit DC gain (Karras et al. 2021, appendix C.1).

    ``cutoff`` and ``half_width`` (half the transition band) are in the unit of
    ``sampling_rate``. One tap is the identity.
    """
    if taps == 1:
        return np.ones(1)
    taps_array = scipy.signal.firwin(taps, cutoff, width=2 * half_width, fs=sampling_rate)
    return np.asarray(taps_array, dtype=np.float64)


def design_radial_lowpass(
    taps: int, cutoff: float, half_width: float, sampling_rate: float
) -> Array:
    """Radially symmetric low-pass filter [taps, taps] of unit DC gain, for config R.

    The jinc function under a separable Kaiser window (Karras et al. 2021, appendix C.1).
    """
    x = (np.arange(taps) - (taps - 1) / 2) / sampling_rate
    r = np.hypot(*np.meshgrid(x, x))
    # An even number of taps never samples r = 0, where the quotient would need its limit.
    assert taps % 2 == 0
    jinc = scipy.special.j1(2 * np.pi * cutoff * r) / (np.pi * r)
    attenuation = scipy.signal.kaiser_atten(taps, 2 * half_width / (sampling_rate / 2))
    window = np.kaiser(taps, scipy.signal.kaiser_beta(attenuation))
    kernel = jinc * np.outer(window, window)
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)


def separable_terms(kernel: Array) -> list[tuple[Array, Array]]:
    """Split a filter into pairs of (row filter, column filter) whose outer products sum to it.

    A 1-D filter is used along both axes. A 2-D one [rows, columns] is split by its singular
    values; terms under 1e-7 of the largest are noise and dropped.
    """
    if kernel.ndim == 1:
        return [(kernel, kernel)]
    left, singular, right = np.linalg.svd(kernel)
    rank = int((singular > RANK_TOLERANCE * singular[0]).sum())
    roots = np.sqrt(singular[:rank])
    return [(left[:, t] * roots[t], right[t] * roots[t]) for t in range(rank)]


def upsample_matrix(
    kernel: Array, size: int, up: int, padding: tuple[int, int], gain: float = 1.0
) -> Array:
    """Matrix [out, size]: insert up-1 zeros after each sample, pad or crop, convolve (valid).

    ``padding`` is (low, high) in upsampled samples, negative to crop;
    out = size * up + low + high - taps + 1.
    """
    taps = len(kernel)
    out_size = size * up + sum(padding) - taps + 1
    if out_size < 1:
        raise ValueError(f"a signal of {size} samples is too short for {taps} taps")
    tap = np.arange(out_size)[:, None] + taps - 1 - (np.arange(size)[None, :] * up + padding[0])
    return _gather(kernel * gain, tap)


def downsample_matrix(kernel: Array, size: int, down: int) -> Array:
    """Matrix [out, size]: convolve (valid) and keep every down-th sample, the first included."""
    taps = len(kernel)
    out_size = (size - taps) // down + 1
    if out_size < 1:
        raise ValueError(f"a signal of {size} samples is too short for {taps} taps")
    tap = np.arange(out_size)[:, None] * down + taps - 1 - np.arange(size)[None, :]
    return _gather(kernel, tap)


def _gather(kernel: Array, tap: npt.NDArray[np.int_]) -> Array:
    """kernel[tap], zero where the index is outside."""
    inside = (tap >= 0) & (tap < len(kernel))
    return np.where(inside, kernel[np.clip(tap, 0, len(kernel) - 1)], 0.0)
