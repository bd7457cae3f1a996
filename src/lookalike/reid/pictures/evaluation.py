"""What an evaluation looks like: lists, activation maps, similarities, a map of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Set
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lookalike.artifacts import Evaluated
from lookalike.data.loading import Images
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Evaluation
from lookalike.reid.pictures.activation import activation_maps
from lookalike.reid.pictures.pairs import WIDE, pair_similarities
from lookalike.reid.trial import Trial
from lookalike.report.curves import embedding_map, similarity_histogram
from lookalike.report.rankings import heat_maps, ranked_lists
from lookalike.spread import spread

SHOWN_QUERIES, SHOWN_MATCHES = 12, 10
MAPPED_PERSONS = 20  # more cannot be told apart

Floats = npt.NDArray[np.float64]


def draw_evaluation(
    test: Evaluation, embedder: Embedder, made: Evaluated, crops: Callable[[pd.DataFrame], Images]
) -> list[Path]:
    """Write four PNG files and return their paths.

    `ranked_lists.png` and `activation.png` of queries at even distances, `similarities.png` of all
    pairs, and `embedding_map.png` of the persons with most images.

    Args:
        test: the evaluation.
        embedder: the network that was evaluated.
        made: where to write.
        crops: the pixels of manifest rows, larger than the network sees them.
    """
    positions = spread(len(test.query.rows), SHOWN_QUERIES)
    queries = crops(test.query.rows.iloc[positions])
    lists = test.lists(positions, SHOWN_MATCHES)
    matches = crops(test.gallery.rows.iloc[lists.indices.ravel()])
    matches = matches.reshape(*lists.indices.shape, *matches.shape[1:])
    ranked_lists(queries, matches, lists.correct, lists.similarities, made.ranked_lists)

    maps, layer = activation_maps(embedder, queries)
    height, width = maps.shape[1:]
    heat_maps(
        queries, maps, made.activation, of=f"squared activations of {layer} ({height}x{width})"
    )

    sides = test.query.rows, test.gallery.rows
    persons, cameras = ([s[c].to_numpy() for s in sides] for c in ("person_id", "camera_id"))
    pairs = pair_similarities(test.query_features, test.gallery_features, Trial(*persons, *cameras))
    similarity_histogram(
        pairs.matching.reshape(-1, WIDE).sum(1),
        pairs.others.reshape(-1, WIDE).sum(1),
        made.similarities,
        overlap=pairs.overlap,
        equal_error_rate=pairs.equal_error_rate,
    )

    rows = pd.concat(sides, ignore_index=True)
    shown = rows["person_id"].isin(most_pictured(rows, set(persons[0]), MAPPED_PERSONS)).to_numpy()
    features = np.concatenate([test.query_features, test.gallery_features])[shown]
    points, shares = principal_components(features)
    names, ids = (rows.loc[shown, c].astype(str).tolist() for c in ("person_id", "camera_id"))
    embedding_map(points, names, ids, made.embedding_map, shares=shares)
    return [made.ranked_lists, made.activation, made.similarities, made.embedding_map]


def top_matches_frame(test: Evaluation, k: int = SHOWN_MATCHES) -> pd.DataFrame:
    """The best `k` gallery images of every query as a table, for pictures without a network.

    Returns:
        A row per match, queries in the evaluation's order, best match first: `query` and `gallery`
        (image ids), `similarity` (cosine, float32), `correct` (bool).
    """
    lists = test.lists(np.arange(len(test.query.rows)), k)
    number, place = np.nonzero(lists.indices >= 0)
    chosen = lists.indices[number, place]
    return pd.DataFrame(
        {
            "query": test.query.rows["image_id"].to_numpy()[number],
            "gallery": test.gallery.rows["image_id"].to_numpy()[chosen],
            "similarity": lists.similarities[number, place],
            "correct": lists.correct[number, place],
        }
    )


def most_pictured(rows: pd.DataFrame, among: Set[str], count: int) -> list[str]:
    """The `count` persons of `among` with most rows; the smaller id first where they are equal."""
    numbers = rows.loc[rows["person_id"].isin(among), "person_id"].value_counts()
    return sorted(numbers.index, key=lambda person: (-numbers[person], person))[:count]


def principal_components(features: npt.NDArray[np.float32]) -> tuple[Floats, tuple[float, float]]:
    """The first two principal components and their shares of the variance.

    The largest weight of each component is positive, so that a map is not mirrored at random.

    Args:
        features: [N, D], D at least 2.

    Returns:
        Points, float64 [N, 2], and two fractions of 1.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    axes = axes[:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])
    total = max(values.sum(), np.finfo(np.float64).tiny)
    first, second = (float(max(v, 0) / total) for v in values[:-3:-1])
    return centred @ axes, (first, second)
