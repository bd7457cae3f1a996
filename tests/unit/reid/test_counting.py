"""Counting above bounds: both ways of doing it against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.reid import counting


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(40, 1), (40, 7), (37, 2040), (40, 2041), (9, 16320), (3, 40000)]),
    most=st.sampled_from([0, 1, 16, 17, 50]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=30, deadline=None)
def test_counts_are_the_definition(
    seed: int, shape: tuple[int, int], most: int, dtype: type[np.float32 | np.float64]
) -> None:
    rng = np.random.default_rng(seed)
    similarities = rng.integers(-40, 40, shape).astype(dtype)  # many ties
    similarities[rng.random(shape) < 0.1] = -np.inf
    rows = np.repeat(np.arange(len(similarities)), rng.integers(0, most + 1, len(similarities)))
    # High bounds leave few above, which takes another way than many; both among the same rows.
    low = rng.choice([-41, -41, -41, 31, 39], len(similarities))[rows]
    bounds = rng.integers(low, 42, (2, len(rows))).astype(dtype)
    if dtype is np.float64:  # what float32 cannot tell apart
        similarities, bounds = 1 + 1e-12 * similarities, 1 + 1e-12 * bounds
    expected = np.zeros(bounds.shape, dtype=np.int64)
    for pair, row in enumerate(rows):
        expected[:, pair] = (similarities[row] > bounds[:, pair, None]).sum(axis=1)
    np.testing.assert_array_equal(counting._count_on_cpu(similarities, rows, bounds), expected)
    tensors = (torch.from_numpy(x) for x in (similarities, rows, bounds))
    np.testing.assert_array_equal(counting._count_on_gpu(*tensors).numpy(), expected)


def test_a_gpu_counts_and_compares_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "CHUNK_BYTES", 4 * 50 * 3)
    rng = np.random.default_rng(0)
    similarities = torch.from_numpy(rng.normal(size=(5, 50)).astype(np.float32))
    rows = torch.arange(5).repeat_interleave(4)
    bounds = torch.from_numpy(rng.normal(size=(2, 20)).astype(np.float32))
    expected = (similarities[rows][None] > bounds[:, :, None]).sum(2)
    assert torch.equal(counting._count_on_gpu(similarities, rows, bounds), expected)
