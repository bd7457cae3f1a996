"""What generators and discriminators minimise.

Non-saturating logistic loss (Goodfellow et al. 2014) with R1 penalty (Mescheder et al. 2018), and
hinge loss.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def generator_loss(fake_logits: Tensor) -> Tensor:
    """-log sigmoid(D(G(z))), a mean over the batch."""
    return nn.functional.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), means over the batches."""
    real = nn.functional.softplus(-real_logits).mean()
    return real + nn.functional.softplus(fake_logits).mean()


def r1_penalty(judge: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Squared norm of the logits' gradient with respect to each real image, [N].

    Differentiable; the loss is gamma / 2 times its mean. `judge` is the discriminator, behind
    whatever it sees the images through. Images [N, 3, H, W] are detached from whatever made them.
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = judge(images)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """-D(G(z)), a mean over samples and positions."""
    return -fake_logits.mean()


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim and Ye 2017), means."""
    return nn.functional.relu(1 - real_logits).mean() + nn.functional.relu(1 + fake_logits).mean()
