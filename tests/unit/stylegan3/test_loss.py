import pytest
import torch
from torch import Tensor, nn

from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.loss import discriminator_loss, generator_loss, r1_penalty


def test_logistic_losses() -> None:
    real, fake = torch.tensor([[1.0], [-2.0]]), torch.tensor([[0.5], [3.0]])
    assert generator_loss(fake) == pytest.approx(-fake.sigmoid().log().mean().item())
    expected = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
    assert discriminator_loss(real, fake) == pytest.approx(expected.item(), rel=1e-5)


def test_r1_of_a_known_function() -> None:
    class Quadratic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum((1, 2, 3)).unsqueeze(1)

    images = torch.randn(3, 3, 4, 2)
    expected = 4 * images.square().sum((1, 2, 3))
    torch.testing.assert_close(r1_penalty(Quadratic(), images), expected)


def test_r1_gradient_of_the_weights() -> None:
    """The double backward, against finite differences."""
    torch.manual_seed(0)
    discriminator = Discriminator(16, 8, channel_base=64, channel_max=4).double()
    images = torch.randn(4, 3, 16, 8, dtype=torch.double)
    # The last bias moves no gradient.
    weights = [p for name, p in discriminator.named_parameters() if name != "out.bias"]
    gradients = torch.autograd.grad(r1_penalty(discriminator, images).mean(), weights)
    directions = [torch.randn_like(weight) for weight in weights]
    expected = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    step, sides = 1e-7, []
    for sign in (1, -2):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight += sign * step * direction
        sides.append(r1_penalty(discriminator, images).mean().detach())
    actual = (sides[0] - sides[1]) / (2 * step)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-8)
