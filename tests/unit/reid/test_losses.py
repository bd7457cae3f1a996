"""The losses against their formulas, written out pair by pair."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lookalike.config import ReidLossConfig
from lookalike.reid.losses import ReidLosses

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
NONE: dict[str, Any] = {"label_smoothing": 0, "triplet": None, "centre": 0, "circle": 0}


def terms(embedding: Tensor, **asked: Any) -> dict[str, Tensor]:
    losses = ReidLosses(ReidLossConfig(**NONE | asked), 3, embedding.shape[1])
    return losses(torch.zeros(len(LABELS), 3), embedding, LABELS)


@pytest.fixture
def embedding() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 3


def test_only_what_is_asked_for(embedding: Tensor) -> None:
    assert set(terms(embedding)) == {"cross_entropy"}
    assert list(ReidLosses(ReidLossConfig(**NONE), 3, 4).parameters()) == []


def test_label_smoothing_spreads_the_target() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    losses = ReidLosses(ReidLossConfig(**NONE | {"label_smoothing": 0.3}), 3, 4)
    target = F.one_hot(LABELS, 3) * 0.7 + 0.1
    expected = -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
    actual = losses(logits, torch.zeros(6, 4), LABELS)["cross_entropy"]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("margin", [0.3, 9.0, "soft"])
def test_triplets_take_the_hardest_of_the_batch(embedding: Tensor, margin: Any) -> None:
    expected = 0.0
    for anchor in range(6):
        far, near = 0.0, math.inf
        for other in range(6):
            distance = float((embedding[anchor] - embedding[other]).norm())
            if LABELS[other] != LABELS[anchor]:
                near = min(near, distance)
            elif other != anchor:
                far = max(far, distance)
        soft = math.log1p(math.exp(far - near))
        expected += (soft if margin == "soft" else max(0.0, far - near + margin)) / 6
    actual = terms(embedding, triplet=margin)["triplet"]
    assert float(actual) == pytest.approx(expected, rel=1e-4)


def test_circle_loss(embedding: Tensor) -> None:
    m, gamma = 0.25, 128
    unit = F.normalize(embedding)
    cosines = (unit @ unit.T).tolist()
    expected = 0.0
    for anchor in range(6):
        positive, negative = [], []
        for other in range(6):
            s = cosines[anchor][other]
            if LABELS[other] != LABELS[anchor]:
                negative.append(gamma * max(0.0, s + m) * (s - m))
            elif other != anchor:
                positive.append(-gamma * max(0.0, 1 + m - s) * (s - 1 + m))
        both = sum(float(torch.tensor(side).logsumexp(0)) for side in (positive, negative))
        expected += float(F.softplus(torch.tensor(both))) / 6
    assert float(terms(embedding, circle=0.5)["circle"]) == pytest.approx(0.5 * expected, rel=1e-4)


def test_centres_pull_and_are_pulled(embedding: Tensor) -> None:
    losses = ReidLosses(ReidLossConfig(**NONE | {"centre": 0.01}), 3, 4)
    embedding.requires_grad_(True)
    value = losses(torch.zeros(6, 3), embedding, LABELS)["centre"]
    torch.testing.assert_close(value, 0.01 * embedding.square().sum(dim=1).mean())
    value.backward()
    torch.testing.assert_close(embedding.grad, 0.01 * 2 / 6 * embedding.detach())
    losses.step()
    # Rate 0.5 on the mean of squares, whatever the loss's weight; an image's share is 1 / 6.
    sums = embedding.detach().reshape(3, 2, 4).sum(dim=1)
    assert losses.centres is not None and losses.centres.grad is None
    torch.testing.assert_close(losses.centres.detach(), sums / 6)
    before = losses.centres.detach().clone()
    losses.step()  # no gradient, no step
    assert torch.equal(losses.centres, before)
    assert set(losses.state_dict()) == {"centres"}  # all the state there is


def rich() -> ReidLosses:
    config = ReidLossConfig(label_smoothing=0.1, triplet=0.3, centre=0.01, circle=0.1)
    losses = ReidLosses(config, 3, 4)
    assert losses.centres is not None
    losses.centres.data.normal_(generator=torch.Generator().manual_seed(2))
    return losses


def test_what_weighs_nothing_or_has_no_class_is_as_if_it_were_not_there(embedding: Tensor) -> None:
    losses, generator = rich(), torch.Generator().manual_seed(3)
    logits = torch.randn(6, 3, generator=generator)
    expected = losses(logits, embedding, LABELS)
    more = torch.cat([embedding, torch.randn(3, 4, generator=generator)])
    more_logits = torch.cat([logits, torch.randn(3, 3, generator=generator)])
    weights = torch.tensor([1.0] * 6 + [0.0] * 3)
    distributions = torch.full((9, 3), 1 / 3)
    for extra in ([0, 1, 2], [-1, -1, 2]):
        labels = torch.cat([LABELS, torch.tensor(extra)])
        actual = losses(more_logits, more, labels, weights, distributions)
        torch.testing.assert_close(actual, expected)
    unlabelled = torch.cat([LABELS, torch.tensor([-1] * 3)])
    actual = losses(more_logits, more, unlabelled, None, distributions)
    for metric in ("triplet", "circle", "centre"):
        torch.testing.assert_close(actual[metric], expected[metric])
    others = -(more_logits[6:].log_softmax(dim=1) / 3).sum(dim=1)
    both = (expected["cross_entropy"] * 6 + others.sum()) / 9
    torch.testing.assert_close(actual["cross_entropy"], both)


def test_equal_weights_are_none(embedding: Tensor) -> None:
    losses = rich()
    expected = losses(embedding[:, :3], embedding, LABELS)
    actual = losses(embedding[:, :3], embedding, LABELS, torch.full((6,), 0.25))
    torch.testing.assert_close(actual, expected)


def test_a_micro_batch_of_nothing_to_learn_from_is_no_loss(embedding: Tensor) -> None:
    logits = torch.zeros(6, 3, requires_grad=True)
    embedding.requires_grad_(True)
    values = rich()(logits, embedding, LABELS, torch.zeros(6))
    total = torch.stack(list(values.values())).sum()
    total.backward()
    assert total.item() == 0 and not embedding.grad.any()  # type: ignore[union-attr]
    only = torch.full((6,), -1)
    terms = rich()(logits, embedding, only, None, torch.full((6, 3), 1 / 3))
    assert all(value.isfinite() for value in terms.values())
