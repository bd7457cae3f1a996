"""Config R's blur: the formula, the fade, and nothing when it is over."""

import pytest
import torch
from torch import nn

from lookalike.stylegan3.blur import blur, startup_sigma


def test_sigma_fades_from_10_to_0_in_200_thousand_images_of_batch_32() -> None:
    assert startup_sigma(0, 32) == 10
    assert startup_sigma(100_000, 32) == 5
    assert startup_sigma(200_000, 32) == startup_sigma(300_000, 32) == 0
    assert startup_sigma(25_000, 8) == 5


@pytest.mark.parametrize("sigma", [0.4, 1.0, 10.0])
def test_the_kernel(sigma: float) -> None:
    images = torch.randn(2, 3, 12, 7)
    x = torch.arange(-int(3 * sigma), int(3 * sigma) + 1)
    kernel = 2 ** (-((x / sigma) ** 2))
    plane = torch.outer(kernel, kernel) / kernel.sum() ** 2
    expected = nn.functional.conv2d(
        images, plane.expand(3, 1, -1, -1), padding=int(3 * sigma), groups=3
    )
    torch.testing.assert_close(blur(images, sigma), expected, rtol=1e-4, atol=1e-6)


def test_over() -> None:
    images = torch.randn(1, 3, 4, 4)
    assert blur(images, 0.0) is images
    assert blur(images, 0.33) is images, "reaches no neighbour"


def test_second_derivatives() -> None:
    images = torch.randn(1, 2, 4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: blur(x**2, 1.0) ** 2, images)
