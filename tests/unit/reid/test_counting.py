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
    length=st.sampled_from([1, 7, 2040, 2041, 16320, 16321, 40000]),
    most=st.sampled_from([0, 1, 16, 17, 50]),
    quantile=st.sampled_from([0.0, 0.9, 0.999]),
)
@settings(max_examples=30, deadline=None)
def test_counts_are_the_definition(seed: int, length: int, most: int, quantile: float) -> None:
    rng = np.random.default_rng(seed)
    similarities = rng.integers(-40, 40, (4, length)).astype(np.float32)  # many ties
    similarities[rng.random(similarities.shape) < 0.1] = -np.inf
    rows = np.repeat(np.arange(4), rng.integers(0, most + 1, 4))
    # High quantiles leave few above, which takes another way than many.
    low = np.quantile(rng.integers(-41, 41, 1000), quantile)
    bounds = rng.integers(low, 42, (2, len(rows))).astype(np.float32)
    expected = (similarities[rows][None] > bounds[:, :, None]).sum(axis=2)
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
