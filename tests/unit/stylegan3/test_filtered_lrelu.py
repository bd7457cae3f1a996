import pytest
import torch
from torch import Tensor

from lookalike.stylegan3 import lrelu_by_matrices as module
from lookalike.stylegan3.filtered_lrelu import filtered_lrelu

from .golden import assert_close, load

ARRAYS = load("filtered_lrelu.npz")
CASES = sorted({name.split("_")[0] for name in ARRAYS})


@pytest.mark.parametrize("case", CASES)
def test_output_and_gradients_equal_the_recorded_ones(case: str) -> None:
    x = ARRAYS[f"{case}_x"].clone().requires_grad_()
    b = ARRAYS[f"{case}_b"].clone().requires_grad_()
    x0, x1, y0, y1 = ARRAYS[f"{case}_padding_x0x1y0y1"].tolist()
    y = filtered_lrelu(
        x,
        b,
        ARRAYS.get(f"{case}_fu"),
        ARRAYS.get(f"{case}_fd"),
        up=int(ARRAYS[f"{case}_up"]),
        down=int(ARRAYS[f"{case}_down"]),
        padding=(x0, x1, y0, y1),
        clamp=1.5,
    )
    assert_close(y, ARRAYS[f"{case}_y"])
    gx, gb = torch.autograd.grad(y, (x, b), ARRAYS[f"{case}_gy"])
    assert_close(gx, ARRAYS[f"{case}_gx"])
    assert_close(gb, ARRAYS[f"{case}_gb"])


def plain_filtered_lrelu(
    x: Tensor, fu: Tensor, fd: Tensor, up: int, down: int, padding: tuple[int, int, int, int]
) -> Tensor:
    """The definition, step by step, for 2-D filters."""
    n, c, h, w = x.shape
    signal = x.new_zeros(n * c, 1, h * up, w * up)
    signal[:, :, ::up, ::up] = x.reshape(n * c, 1, h, w)
    signal = torch.nn.functional.pad(signal, padding)
    signal = torch.nn.functional.conv2d(signal, fu.flip(0, 1)[None, None] * up**2)
    signal = torch.nn.functional.leaky_relu(signal, 0.2) * 2**0.5
    signal = signal.clamp(-0.5, 0.5)
    signal = torch.nn.functional.conv2d(signal, fd.flip(0, 1)[None, None])[..., ::down, ::down]
    return signal.reshape(n, c, *signal.shape[2:])


def test_unsymmetric_non_separable_filters() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 7, dtype=torch.double)
    fu, fd = torch.randn(2, 6, 6, dtype=torch.double) / 6
    padding = (3, 2, -1, 4)
    actual = filtered_lrelu(x, None, fu, fd, up=2, down=2, padding=padding, clamp=0.5)
    expected = plain_filtered_lrelu(x, fu, fd, 2, 2, padding)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_first_and_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 1)
    torch.manual_seed(0)
    x = torch.randn(1, 2, 4, 3, dtype=torch.double, requires_grad=True)
    b = torch.randn(2, dtype=torch.double, requires_grad=True)
    fu, fd = torch.randn(2, 6, dtype=torch.double)

    def apply(x: Tensor, b: Tensor) -> Tensor:
        return filtered_lrelu(x, b, fu, fd, up=2, down=2, padding=(5, 4, 5, 4), clamp=2.0)

    assert torch.autograd.gradcheck(apply, (x, b))
    assert torch.autograd.gradgradcheck(apply, (x, b))


def test_groups_of_planes_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 12, 10, requires_grad=True)
    taps = torch.randn(12)
    results = []
    for elements in (1, 3000, 10**9):
        monkeypatch.setattr(module, "CHUNK_ELEMENTS", elements)
        y = filtered_lrelu(x, None, taps, taps, up=2, down=2, padding=(11, 10, 11, 10), clamp=1.0)
        results.append((y, torch.autograd.grad(y.square().sum(), x)[0]))
    for y, gradient in results[1:]:
        torch.testing.assert_close(y, results[0][0])
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-5, atol=1e-4)


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 3000)
    torch.manual_seed(0)
    x = torch.randn(3, 5, 12, 10, requires_grad=True)
    taps = torch.randn(12)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = filtered_lrelu(
                x, None, taps, taps, up=2, down=2, padding=(11, 10, 11, 10), clamp=1.0
            )
            results.append((y, *torch.autograd.grad(y.square().sum(), x)))
            assert torch.get_num_threads() == threads
            with torch.inference_mode():
                again = filtered_lrelu(
                    x, None, taps, taps, up=2, down=2, padding=(11, 10, 11, 10), clamp=1.0
                )
            assert torch.equal(again, y)
    finally:
        torch.set_num_threads(before)
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


def test_half_precision_planes_are_filtered_in_full() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 12, 10, requires_grad=True)
    b = torch.randn(3, requires_grad=True)
    taps = torch.rand(12) / 12
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        # The same values in both: bfloat16's.
        planes = x.bfloat16().to(dtype)
        y = filtered_lrelu(planes, b, taps, taps, up=2, down=2, padding=(11, 10, 11, 10))
        assert y.dtype == dtype
        results.append((y.float(), *torch.autograd.grad(y, (x, b), torch.ones_like(y))))
    for full, half in zip(*results, strict=True):
        torch.testing.assert_close(half, full, rtol=2**-7, atol=2**-9)


def test_empty_batch() -> None:
    y = filtered_lrelu(torch.empty(0, 3, 8, 8), fu=torch.ones(2), up=2, padding=(1, 0, 1, 0))
    assert y.shape == (0, 3, 16, 16)
