"""The discriminator on pretrained features as a critic: hinge loss, shifted images, no R1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lookalike.config import GanConfig
from lookalike.stylegan3.augment import Augment
from lookalike.stylegan3.critic import Critic, Samples, View
from lookalike.stylegan3.loss import hinge_discriminator_loss, hinge_generator_loss
from lookalike.stylegan3.projected import ProjectedDiscriminator
from lookalike.training.session import Session, Stateful


class ProjectedCritic(Critic):
    """See `projected`. Every image is shifted, reals and fakes alike, and keeps its colours.

    Differentiable augmentation (Zhao et al. 2020) includes colours, which ImageNet's features
    hardly mind anyway: with it, a generator soon draws few of them.

    Args:
        config: rates and sizes.
        discriminator: on the device.
        session: of the device.
    """

    name = "projected"

    def __init__(self, config: GanConfig, discriminator: ProjectedDiscriminator, session: Session):
        self.config, self.session = config, session
        self.network = self.discriminator = discriminator
        self.trained = list(discriminator.heads.parameters())
        self.weight = config.projected_weight if config.discriminator == "both" else 1.0
        self.optimizer = torch.optim.Adam(
            self.trained, lr=config.discriminator_lr, betas=(0.0, 0.99), eps=1e-8
        )
        shifts = Augment(config.height, config.width, ["integer-shift"])
        self.shifts = shifts.to(session.device)

    def draw_views(self, images_seen: int) -> Callable[[slice], View]:
        """See Critic."""
        strengths = self.shifts.draw(self.config.batch_size, 1.0, self.session.device)

        def of(part: slice) -> View:
            mine = {name: values[part] for name, values in strengths.items()}
            return lambda images: self.shifts(images, mine)

        return of

    def logits(self, samples: Samples, view: View) -> Tensor:
        """float32 [N, positions]."""
        logits: Tensor = self.network(view(samples.images), samples.labels)
        return logits.float()

    def generator_loss(self, fakes: Samples, view: View) -> Tensor:
        """See Critic."""
        return hinge_generator_loss(self.logits(fakes, view))

    def loss(
        self, reals: Samples, fakes: Samples, view_reals: View, view_fakes: View
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See Critic."""
        of_fakes, of_reals = self.logits(fakes, view_fakes), self.logits(reals, view_reals)
        means = {"projected_real": of_reals.mean(), "projected_fake": of_fakes.mean()}
        return hinge_discriminator_loss(of_reals, of_fakes), means

    def finish_step(self, measured: Mapping[str, Tensor]) -> dict[str, float]:
        """Move the spectral norms."""
        self.discriminator.normalise()
        return {}

    def parts(self) -> dict[str, Stateful]:
        """See Critic; what is frozen is the same everywhere."""
        return {"projected": self.discriminator.heads, "p_optimizer": self.optimizer}
