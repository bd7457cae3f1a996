"""How good a re-ID model is: its embeddings, ranked by the protocol of Market-1501."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from accelerate.utils import broadcast_object_list, gather_object

from lookalike.config import Config
from lookalike.data.loading import Images, load_images
from lookalike.reid.embedder import Embedder
from lookalike.reid.labels import Labels
from lookalike.reid.ranking import Ranking, TopMatches, join, rank, rank_distances, top_matches
from lookalike.reid.reranking import rerank
from lookalike.reid.trial import Trial
from lookalike.training.session import Session
from lookalike.training.sharing import shared

Rows = tuple[pd.DataFrame, pd.DataFrame]  # manifest rows of queries and gallery


def measured_ranks(reported: Sequence[int]) -> tuple[int, ...]:
    """`evaluate.ranks`, and 1, which the gates judge; sorted."""
    return tuple(sorted({1, *reported}))


@dataclass(frozen=True)
class Side:
    """Manifest rows with their pixels (uint8 [N, H, W, 3]), in the same order."""

    rows: pd.DataFrame
    images: Images

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.images)


@dataclass(frozen=True)
class Evaluation:
    """One model on one query set and gallery.

    Attributes:
        query_features, gallery_features: float32 [Q, D] and [G, D].
        ranking: by cosine similarity.
        reranked: by k-reciprocal neighbours; None where that was not asked for.
    """

    query: Side
    gallery: Side
    query_features: npt.NDArray[np.float32]
    gallery_features: npt.NDArray[np.float32]
    ranking: Ranking
    reranked: Ranking | None = None

    def summary(self, ranks: Sequence[int]) -> dict[str, float]:
        """`Ranking.summary`, and beside it that of the re-ranking as `rank_1_reranked`, ..."""
        summary = self.ranking.summary(ranks)
        if self.reranked is not None:
            again = self.reranked.summary(ranks)
            counts = ("queries", "invalid_queries")
            summary |= {f"{k}_reranked": v for k, v in again.items() if k not in counts}
        return summary

    def lists(self, positions: npt.NDArray[np.intp], k: int) -> TopMatches:
        """The `k` best matches of the queries at `positions`."""
        query = self.query.rows.iloc[positions]
        gallery = self.gallery.rows
        return top_matches(
            self.query_features[positions],
            self.gallery_features,
            query["person_id"].to_numpy(),
            gallery["person_id"].to_numpy(),
            query["camera_id"].to_numpy(),
            gallery["camera_id"].to_numpy(),
            k,
        )


def measure(
    embedder: Embedder, rows: Rows, root: Path, config: Config, session: Session | None = None
) -> Evaluation:
    """Decode the crops of a protocol and `evaluate` as the configuration says.

    They are decoded straight to the network's input size, as in training, in the registered model
    and in `lookalike embed`: a resize in between would make other embeddings of the same picture.

    Args:
        embedder: the model, with the configuration's settings.
        rows: of queries and gallery.
        root: what their paths are relative to.
        config: `evaluate`.
        session: see `evaluate`.

    Raises:
        UserError: images cannot be read, or no query has a match; says why.
    """
    size = embedder.model.height, embedder.model.width
    query, gallery = (Side(side, load_images(side, root, *size)) for side in rows)
    return evaluate(embedder, query, gallery, rerank_too=config.evaluate.rerank, session=session)


def evaluate(
    embedder: Embedder,
    query: Side,
    gallery: Side,
    *,
    rerank_too: bool = False,
    session: Session | None = None,
) -> Evaluation:
    """Embed both sides and rank the gallery for every query, on a GPU where the model is on one.

    Args:
        embedder: the model.
        query: every image to be looked for.
        gallery: where to look, junk and distractors included.
        rerank_too: also rank by k-reciprocal neighbours.
        session: its processes share the work, and all get the whole result, which is the one
            that a single process gets. None works alone.

    Raises:
        UserError: features are not finite, or no query has a match; says why.
    """
    index, count = (session.rank, session.world) if session else (0, 1)
    query_features, gallery_features = (
        shared(embedder.embed, side.images, session, embedder.batch_size)
        for side in (query, gallery)
    )
    labels = (
        query.rows["person_id"].to_numpy(),
        gallery.rows["person_id"].to_numpy(),
        query.rows["camera_id"].to_numpy(),
        gallery.rows["camera_id"].to_numpy(),
    )
    sides = [torch.from_numpy(x).to(embedder.device) for x in (query_features, gallery_features)]
    share = rank(sides[0], sides[1], *labels, part=(index, count))
    ranking = join(gather_object([share])) if count > 1 else share
    reranked = None
    if rerank_too:
        again = [rank_reranked(query_features, gallery_features, labels) if index == 0 else None]
        (reranked,) = broadcast_object_list(again) if count > 1 else again
    return Evaluation(query, gallery, query_features, gallery_features, ranking, reranked)


def rank_reranked(
    query: npt.NDArray[np.float32],
    gallery: npt.NDArray[np.float32],
    labels: tuple[Labels, Labels, Labels, Labels],
) -> Ranking:
    """Rank by k-reciprocal neighbours, junk left out before.

    One process does it, for most of it is one chain of products.
    """
    kept = Trial(*labels).kept
    distances = np.full((len(query), len(gallery)), 2, dtype=np.float32)
    distances[:, kept] = rerank(query, gallery[kept])
    return rank_distances(distances, *labels)
