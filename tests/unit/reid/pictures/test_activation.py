"""Activation maps."""

from __future__ import annotations

import numpy as np

from lookalike.data.loading import Images
from lookalike.reid.embedder import Embedder
from lookalike.reid.pictures.activation import activation_maps

RNG = np.random.default_rng(0)


def test_activation_map_is_of_the_deepest_layer_that_is_fine_enough(
    embedder: Embedder, crops: tuple[Images, list[str]]
) -> None:
    maps, layer = activation_maps(embedder, crops[0])
    assert (layer, maps.shape) == ("layer1", (8, 8, 4))  # of 32x16, a quarter
    assert maps.min((1, 2)).tolist() == [0] * 8 and maps.max((1, 2)).tolist() == [1] * 8
    embedder.model.height, embedder.model.width = 48, 24
    assert activation_maps(embedder, crops[0])[1] == "layer2"
    assert not embedder.model.backbone.layer1._forward_hooks
    # Loudest channels count: a bright spot in one corner is where the map is highest.
    embedder.model.height, embedder.model.width = 32, 16
    spot = np.full((1, 32, 16, 3), 110, np.uint8)
    spot[0, :8, :4] = RNG.integers(0, 256, (8, 4, 3))
    corner = activation_maps(embedder, spot)[0][0]
    assert corner[:3, :2].max() == 1
