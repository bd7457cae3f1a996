"""Does a re-ID model still take the crop for that person? Cosine to the person's centroid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lookalike.errors import UserError
from lookalike.filtering.filter import Filter, Material

Embeddings = npt.NDArray[np.float32]  # [N, D], unit length
Persons = npt.NDArray[np.object_]  # [N], person_id
Scores = npt.NDArray[np.float64]


def similarity_to_real(
    embeddings: Embeddings, persons: Persons, real: Embeddings, real_persons: Persons
) -> Scores:
    """Cosine of each embedding to the mean of its person's real embeddings: float64 [N].

    Raises:
        ValueError: a person without a real image.
    """
    scores = np.empty(len(embeddings), dtype=np.float64)
    for person in np.unique(persons):
        own = real[real_persons == person]
        if not len(own):
            raise ValueError(f"person {person} has no real image to compare with")
        rows = persons == person
        scores[rows] = _cosine(embeddings[rows], own.sum(axis=0, dtype=np.float64))
    return scores


def similarity_to_others(
    embeddings: Embeddings, persons: Persons, members: npt.NDArray[np.bool_]
) -> Scores:
    """Cosine of each embedding to the mean of its person's *other* members: float64 [N].

    Leaving an image out of its own centroid keeps small groups from looking alike by construction.
    `members` marks the rows that make up centroids. NaN where a person has no other member.
    """
    scores = np.full(len(embeddings), np.nan)
    for person in np.unique(persons):
        rows = np.flatnonzero(persons == person)
        own = embeddings[rows].astype(np.float64)
        counted = members[rows]
        others = own[counted].sum(axis=0) - own * counted[:, None]
        judged = counted.sum() - counted > 0
        scores[rows[judged]] = _cosine(own[judged], others[judged])
    return scores


def _cosine(vectors: npt.NDArray[np.floating], centroids: npt.NDArray[np.float64]) -> Scores:
    lengths = np.linalg.norm(vectors, axis=-1) * np.linalg.norm(centroids, axis=-1)
    return (vectors * centroids).sum(axis=-1) / np.maximum(lengths, 1e-12)  # type: ignore[no-any-return]


def _score(material: Material) -> Scores:
    """Of a new person, to the other images that are left; of a variation, to its real person."""
    generated, train = material.generated, material.train
    scores = similarity_to_others(generated.embeddings, generated.persons, material.left)
    varied = (generated.rows["origin"] == "variation").to_numpy()
    if varied.any():
        try:
            scores[varied] = similarity_to_real(
                generated.embeddings[varied],
                generated.persons[varied],
                train.embeddings,
                train.persons,
            )
        except ValueError as error:
            raise UserError(f"filter: {error}; does its manifest belong to this data?") from error
    return scores


def _score_real(material: Material) -> Scores:
    """Of the validation persons: the model has learnt the train persons by heart.

    Calibrated on those, it would ask too much of an image that it has not seen.
    """
    val = material.val
    scores = similarity_to_others(val.embeddings, val.persons, np.ones(len(val.rows), bool))
    return scores[~np.isnan(scores)]


IDENTITY = Filter(
    "identity",
    lambda config: config.identity_threshold,
    _score,
    _score_real,
    "real validation images",
)
