"""What a recipe minimises: cross-entropy over persons, and metric losses beside it.

Metric losses compare the images of one micro-batch, on the embedding before batch norm.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike.config import ReidLossConfig

CENTRE_RATE = 0.5  # of the centres' own gradient descent (Luo et al. 2019)
CIRCLE_MARGIN, CIRCLE_SCALE = 0.25, 128  # m and gamma for re-ID (Sun et al. 2020, 4.1)


class ReidLosses(nn.Module):
    """The losses that `config` asks for, and the centres, if there are any, as a parameter.

    Args:
        config: which losses, and their weights.
        num_classes: persons to tell apart.
        embedding_dim: D.
    """

    centres: Tensor | None

    def __init__(self, config: ReidLossConfig, num_classes: int, embedding_dim: int):
        super().__init__()
        self.config = config
        if config.triplet is not None or config.circle:
            self._add_metric_losses(config)
        centres = nn.Parameter(torch.zeros(num_classes, embedding_dim)) if config.centre else None
        self.register_parameter("centres", centres)

    def _add_metric_losses(self, config: ReidLossConfig) -> None:
        """From the library, which a machine needs for recipes with these losses only."""
        from pytorch_metric_learning.distances import LpDistance
        from pytorch_metric_learning.losses import CircleLoss, TripletMarginLoss
        from pytorch_metric_learning.miners import BatchHardMiner
        from pytorch_metric_learning.reducers import MeanReducer

        euclidean = LpDistance(normalize_embeddings=False)
        soft = config.triplet == "soft"
        self.hardest = BatchHardMiner(distance=euclidean)
        self.triplet = TripletMarginLoss(
            margin=0.0 if soft else (config.triplet or 0.0),
            smooth_loss=soft,
            distance=euclidean,
            reducer=MeanReducer(),
        )
        self.circle = CircleLoss(m=CIRCLE_MARGIN, gamma=CIRCLE_SCALE, reducer=MeanReducer())

    def forward(self, logits: Tensor, embedding: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Weighted losses by name, scalars to add up.

        Args:
            logits: float [N, num_classes].
            embedding: float [N, D], before batch norm.
            labels: int64 [N].
        """
        config = self.config
        smoothing = config.label_smoothing
        terms = {"cross_entropy": F.cross_entropy(logits, labels, label_smoothing=smoothing)}
        if config.triplet is not None:
            terms["triplet"] = self.triplet(embedding, labels, self.hardest(embedding, labels))
        if config.circle:
            terms["circle"] = config.circle * self.circle(embedding, labels)
        if self.centres is not None:
            squares = (embedding - self.centres[labels]).square().sum(dim=1)
            terms["centre"] = config.centre * squares.mean()
        return terms

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:
        """Move the centres down their gradient, undoing the loss's weight; then forget it.

        Plain gradient descent, so the centres are all the state that there is.

        Args:
            scale: what the loss was multiplied with (fp16); a gradient that overflowed moves
                nothing, as in torch's scaler.
        """
        if self.centres is not None and self.centres.grad is not None:
            if torch.isfinite(self.centres.grad).all():
                self.centres -= CENTRE_RATE / self.config.centre * (self.centres.grad / scale)
            self.centres.grad = None
