"""Crops of chosen features, for filters that look at nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookalike.data.manifest import new_manifest
from lookalike.filtering.filter import Crops


def angled(
    persons: Sequence[str], degrees: Sequence[float], *, neutral: Sequence[float] | None = None
) -> Crops:
    """Crops whose embeddings lie on the unit circle, in the order of their names.

    Args:
        persons: whom each crop shows.
        degrees: of each embedding.
        neutral: the one neutral feature of each.
    """
    shape = (16, 8, 3)
    rows = [
        {
            "image_id": f"image{number:03d}",
            "person_id": person,
            "camera_id": 1,
            "split": "train",
            "origin": "real",
            "member": f"{number}.jpg",
            "width": shape[1],
            "height": shape[0],
            "sha256": "0" * 64,
        }
        for number, person in enumerate(persons)
    ]
    radians = np.radians(np.array(degrees, np.float64))
    embeddings = np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
    features = None if neutral is None else np.array(neutral, np.float32)[:, None]
    return Crops(new_manifest(rows), np.zeros((len(rows), *shape), np.uint8), embeddings, features)
