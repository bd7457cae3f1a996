"""How good a re-ID model is: its embeddings, ranked by the protocol of Market-1501."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lookalike.data.loading import Images
from lookalike.reid.embedder import Embedder
from lookalike.reid.ranking import Ranking, TopMatches, rank, top_matches


@dataclass(frozen=True)
class Side:
    """Manifest rows with their pixels (uint8 [N, H, W, 3]), in the same order."""

    rows: pd.DataFrame
    images: Images

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.images)


@dataclass(frozen=True)
class Evaluation:
    """One model on one query set and gallery."""

    query: Side
    gallery: Side
    query_features: npt.NDArray[np.float32]
    gallery_features: npt.NDArray[np.float32]
    ranking: Ranking

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


def evaluate(embedder: Embedder, query: Side, gallery: Side) -> Evaluation:
    """Embed both sides and rank the gallery for every query.

    Raises:
        UserError: no query has a match; says why.
    """
    query_features = embedder.embed(query.images)
    gallery_features = embedder.embed(gallery.images)
    ranking = rank(
        query_features,
        gallery_features,
        query.rows["person_id"].to_numpy(),
        gallery.rows["person_id"].to_numpy(),
        query.rows["camera_id"].to_numpy(),
        gallery.rows["camera_id"].to_numpy(),
    )
    return Evaluation(query, gallery, query_features, gallery_features, ranking)
