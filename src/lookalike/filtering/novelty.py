"""Is a new person really new? The identity filter the other way: nobody among the real ones.

A new person is a class of its own. An image of it that looks like a real person's would teach a
model to tell that person from itself.
"""

from __future__ import annotations

import numpy as np

from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Crops, Filter


def novelty(crops: Crops, known: Crops) -> Scores:
    """1 - the highest cosine of each crop to a known person's centroid: float64 [N] in [0, 2].

    A centroid is the mean of the person's embeddings, scaled to unit length.
    """
    groups = known.by_person()
    centroids = np.stack([known.embeddings[rows].sum(0, dtype=np.float64) for rows in groups])
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    scores: Scores = 1 - (crops.embeddings @ centroids.T).max(axis=1)
    return scores


# Validation persons are the measure: they are none of the train persons, and the model has learnt
# neither them nor the new ones by heart.
NOVELTY = Filter(
    "novelty",
    lambda config: config.novelty_threshold,
    lambda material: novelty(material.generated, material.train),
    lambda material: novelty(material.val, material.train),
    "real validation images, none of a train person",
    origin="person",
)
