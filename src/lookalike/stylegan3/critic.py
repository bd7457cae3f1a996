"""What the generator is trained against, and how it is trained itself.

A critic has its loss, its optimiser, what it sees images through, and what it adds to the
generator's loss. The trainer gives it images and takes the steps; it may have several critics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lookalike.config import GanConfig
from lookalike.stylegan3.augment import Adaptation, Augment
from lookalike.stylegan3.blur import blur, startup_sigma
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.loss import discriminator_loss, generator_loss, r1_penalty
from lookalike.training.curves import Curves
from lookalike.training.session import Session, Stateful

View = Callable[[Tensor], Tensor]  # images as a critic gets to see them


@dataclass(frozen=True)
class Samples:
    """Images [N, 3, H, W] of about -1 to 1, and in conditional training their labels [N]."""

    images: Tensor
    labels: Tensor | None


class Critic(ABC):
    """One of those that tell generated images from real ones.

    Attributes:
        name: tells the curves of several apart, as in `loss_NAME`.
        weight: of its part in the generator's loss.
        network: whose parameters need no gradient except in the critic's own step.
        trained: the parameters that this step moves.
        optimizer: of these.
        penalty_interval: every so many steps there is a step on `penalty`, too; None: never.
    """

    name: str
    network: nn.Module
    trained: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    weight: float = 1.0
    penalty_interval: int | None = None

    def draw_views(self, images_seen: int) -> Callable[[slice], View]:
        """Draw with torch's random state what a global batch is seen through.

        Returns:
            From a micro-batch's samples of the global batch to their view.
        """
        return lambda _: lambda images: images

    @abstractmethod
    def generator_loss(self, fakes: Samples, view: View) -> Tensor:
        """What the generator minimises, a mean over the micro-batch; under autocast."""

    @abstractmethod
    def loss(
        self, reals: Samples, fakes: Samples, view_reals: View, view_fakes: View
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the critic minimises, and what else its curves show; under autocast."""

    def penalty(self, reals: Samples, view: View) -> tuple[Tensor, dict[str, Tensor]]:
        """What the regularising step minimises, and what its curves show; in full precision."""
        raise NotImplementedError

    def begin(self) -> None:
        """Let the trained parameters have gradients, of which there are none yet."""
        self.optimizer.zero_grad()
        for parameter in self.trained:
            parameter.requires_grad_(True)

    def finish(self, session: Session, micro_batches: int, curves: Curves, norm: str) -> None:
        """Take the step that gradients over this process' micro-batches say.

        Args:
            session: whose processes share the gradients.
            micro_batches: how many there were.
            curves: get the gradients' norm, called `norm`.
        """
        session.average_gradients(self.trained, micro_batches)
        curves.add_gradient_norm(self.trained, norm)
        self.optimizer.step()
        self.network.requires_grad_(False)

    def finish_step(self, measured: Mapping[str, Tensor]) -> dict[str, float]:
        """Look at the step's means of what `loss` gave the curves; numbers for them."""
        return {}

    @abstractmethod
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds, by names that no other critic uses."""


class StyleganCritic(Critic):
    """StyleGAN's discriminator: logistic loss, R1 on reals, adaptive augmentation, config R's blur.

    Args:
        config: rates, R1, augmentation.
        discriminator: on the device.
        session: whose processes share the signs of the logits.
        blurred: whether training starts with blurred images.
    """

    name = "discriminator"

    def __init__(
        self, config: GanConfig, discriminator: Discriminator, session: Session, *, blurred: bool
    ):
        self.config, self.session, self.blurred = config, session, blurred
        self.network = discriminator
        self.trained = list(discriminator.trainable_parameters(config.freeze_discriminator))
        self.penalty_interval = config.r1_interval
        # Lazy regularisation: rate and decays of the steps between two R1 steps (Karras et al.
        # 2020).
        lazy = config.r1_interval / (config.r1_interval + 1)
        self.optimizer = torch.optim.Adam(
            discriminator.parameters(),
            lr=config.discriminator_lr * lazy,
            betas=(0.0, 0.99**lazy),
            eps=1e-8,
        )
        self.adaptation: Adaptation | None = None
        if config.ada is not None:
            self.adaptation = Adaptation(config.ada, config.batch_size)
            augment = Augment(config.height, config.width, config.ada.transforms)
            self.augment = augment.to(session.device)

    def draw_views(self, images_seen: int) -> Callable[[slice], View]:
        """See Critic."""
        size, strengths = self.config.batch_size, {}
        sigma = startup_sigma(images_seen, size) if self.blurred else 0.0
        if self.adaptation is not None and self.adaptation.p > 0:
            strengths = self.augment.draw(size, self.adaptation.p, self.session.device)

        def of(part: slice) -> View:
            mine = {name: values[part] for name, values in strengths.items()}

            def view(images: Tensor) -> Tensor:
                images = blur(images, sigma)
                return self.augment(images, mine) if mine else images

            return view

        return of

    def logits(self, samples: Samples, view: View) -> Tensor:
        """float32 [N, 1]."""
        logits: Tensor = self.network(view(samples.images), samples.labels)
        return logits.float()

    def generator_loss(self, fakes: Samples, view: View) -> Tensor:
        """See Critic."""
        return generator_loss(self.logits(fakes, view))

    def loss(
        self, reals: Samples, fakes: Samples, view_reals: View, view_fakes: View
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See Critic."""
        of_fakes, of_reals = self.logits(fakes, view_fakes), self.logits(reals, view_reals)
        signs = {"sign_real": of_reals.sign().mean(), "sign_fake": of_fakes.sign().mean()}
        return discriminator_loss(of_reals, of_fakes), signs

    def penalty(self, reals: Samples, view: View) -> tuple[Tensor, dict[str, Tensor]]:
        """R1; with as much more weight as it is rarer than every step."""

        def judge(images: Tensor) -> Tensor:
            return self.logits(Samples(images, reals.labels), view)

        penalty = r1_penalty(judge, reals.images).mean()
        weight = self.config.r1_gamma / 2 * self.config.r1_interval
        return penalty * weight, {"r1_penalty": penalty}

    def finish_step(self, measured: Mapping[str, Tensor]) -> dict[str, float]:
        """Move the augmentation's probability."""
        if self.adaptation is None:
            return {}
        self.adaptation.observe(self.session.mean({"real": measured["sign_real"]})["real"])
        return self.adaptation.metrics()

    def parts(self) -> dict[str, Stateful]:
        """See Critic."""
        adaptation = {} if self.adaptation is None else {"adaptation": self.adaptation}
        return {"discriminator": self.network, "d_optimizer": self.optimizer, **adaptation}
