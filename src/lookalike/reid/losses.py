"""What a recipe minimises: cross-entropy over persons, and metric losses beside it.

Metric losses compare the images of one micro-batch, on the embedding before batch norm. Images may
have weights, and a distribution in place of a class: metric losses leave those out.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike.config import ReidLossConfig

CENTRE_RATE = 0.5  # of the centres' own gradient descent (Luo et al. 2019)
CIRCLE_MARGIN, CIRCLE_SCALE = 0.25, 128  # m and gamma for re-ID (Sun et al. 2020, 4.1)
TINY = torch.finfo(torch.float32).tiny


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
        from pytorch_metric_learning.reducers import DoNothingReducer

        euclidean = LpDistance(normalize_embeddings=False)
        soft = config.triplet == "soft"
        self.hardest = BatchHardMiner(distance=euclidean)
        self.triplet = TripletMarginLoss(
            margin=0.0 if soft else (config.triplet or 0.0),
            smooth_loss=soft,
            distance=euclidean,
            reducer=DoNothingReducer(),
        )
        self.circle = CircleLoss(m=CIRCLE_MARGIN, gamma=CIRCLE_SCALE, reducer=DoNothingReducer())

    def forward(
        self,
        logits: Tensor,
        embedding: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        distributions: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name, scalars to add up: means over the images, by their weights.

        Triplets and circle loss weigh their anchors; images of weight 0 are not compared with.

        Args:
            logits: float [N, num_classes].
            embedding: float [N, D], before batch norm.
            labels: int64 [N]; with distributions, below 0 for images without a class.
            weights: float [N]; None: all alike.
            distributions: float [N, num_classes], what images without a class are taught as.
        """
        terms = {"cross_entropy": self._cross_entropy(logits, labels, weights, distributions)}
        if weights is not None or distributions is not None:
            compared = labels >= 0
            if weights is not None:
                compared = compared & (weights > 0)
                weights = weights[compared]
            embedding, labels = embedding[compared], labels[compared]
        config = self.config
        if config.triplet is not None:
            hardest = self.hardest(embedding, labels) if len(labels) else None
            found = self.triplet(embedding, labels, hardest)["loss"]
            terms["triplet"] = _anchors_mean(found, embedding, weights)
        if config.circle:
            found = self.circle(embedding, labels)["loss"]
            terms["circle"] = config.circle * _anchors_mean(found, embedding, weights)
        if self.centres is not None:
            squares = (embedding - self.centres[labels]).square().sum(dim=1)
            terms["centre"] = config.centre * weighted_mean(squares, weights)
        return terms

    def _cross_entropy(
        self, logits: Tensor, labels: Tensor, weights: Tensor | None, distributions: Tensor | None
    ) -> Tensor:
        """Smoothed for classes, and as they are for distributions."""
        smoothing = self.config.label_smoothing
        if weights is None and distributions is None:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        each = F.cross_entropy(
            logits, labels, label_smoothing=smoothing, ignore_index=-1, reduction="none"
        )
        if distributions is not None:
            others = -(distributions * logits.log_softmax(dim=1)).sum(dim=1)
            each = torch.where(labels < 0, others, each)
        return weighted_mean(each, weights)

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


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Of values [N], by weights [N] or all alike; 0 where nothing weighs anything."""
    if weights is None:
        return values.mean() if len(values) else values.sum()
    return (weights * values).sum() / weights.sum().clamp(min=TINY)


def _anchors_mean(found: dict[str, Any], embedding: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of the losses that the library found, by the weights of their anchors."""
    losses, indices = found["losses"], found["indices"]
    if not isinstance(losses, Tensor):  # it writes 0 where there is nothing to compare
        return (embedding * 0).sum()
    anchors = indices[0] if isinstance(indices, (list, tuple)) else indices
    return weighted_mean(losses.flatten(), None if weights is None else weights[anchors])
