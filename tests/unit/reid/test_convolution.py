"""Convolution as a matrix product equals PyTorch's, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet50

from lookalike.reid.convolution import SmallMapConv2d, use_products


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(1, 0), (3, 1), (3, 0), (5, 2)]),
    st.sampled_from([1, 2, 3]),
    st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(5, 12), st.integers(5, 12)),
    st.booleans(),
)
def test_equals_pytorch(
    kernel: tuple[int, int], stride: int, shape: tuple[int, int, int, int], channels_last: bool
) -> None:
    size, padding = kernel
    theirs = nn.Conv2d(shape[1], 440, size, stride, padding, bias=False)
    if channels_last:
        theirs = theirs.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ours = SmallMapConv2d.of(theirs)
    x = torch.randn(shape, requires_grad=True)
    assert x.numel() < ours.weight.numel()
    results = []
    # Not against oneDNN, which writes past its buffer, and at times crashes, in the gradient of
    # strided 1x1 weights of fewer than 16 channels (github.com/uxlfoundation/oneDNN/issues/6035).
    with torch.backends.mkldnn.flags(enabled=False):
        for layer in (theirs, ours):
            y = layer(x)
            direction = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
            grads = torch.autograd.grad(y, (x, theirs.weight), direction)
            results.append((y.detach(), *grads))
    for expected, found in zip(*results, strict=True):
        assert found.shape == expected.shape
        torch.testing.assert_close(
            found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )


def test_maps_that_outnumber_the_weights_and_traces_go_the_other_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def product(self: SmallMapConv2d, x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x

    monkeypatch.setattr(SmallMapConv2d, "_product", product)
    layer = SmallMapConv2d(4, 8, 3, padding=1, bias=False)  # 288 weights
    layer(torch.zeros(1, 4, 9, 8))
    torch.jit.trace(layer, torch.zeros(1, 4, 8, 8), check_trace=False)
    assert calls == []
    layer(torch.zeros(1, 4, 8, 8))
    assert calls == [1]


def test_resnet_keeps_its_weights_and_its_features() -> None:
    torch.manual_seed(0)
    network = resnet50(weights=None).eval()
    x = torch.randn(2, 3, 48, 24)
    with torch.inference_mode():
        expected = network(x)
        before = network.state_dict()
        use_products(network)
        assert not any(type(module) is nn.Conv2d for module in network.modules())
        after = network.state_dict()
        assert list(after) == list(before)
        assert all(after[name].data_ptr() == before[name].data_ptr() for name in before)
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, bias=False, groups=2),
        nn.Conv2d(4, 4, 3, bias=False, dilation=2),
        nn.Conv2d(4, 4, (3, 1), bias=False),
        nn.Conv2d(4, 4, 3, bias=False, padding=1, padding_mode="reflect"),
    ],
    ids=["bias", "groups", "dilation", "oblong", "reflecting"],
)
def test_others_are_refused(other: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="no square convolution"):
        SmallMapConv2d.of(other)
