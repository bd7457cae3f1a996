"""Shares end where the batches of one process end."""

from __future__ import annotations

import inspect

from lookalike.filtering.detectors import YoloDetector
from lookalike.filtering.sharing import UNIT
from lookalike.metrics.imagenet import ImagenetFeatures
from lookalike.reid.embedder import Embedder


def test_a_share_is_whole_batches_of_every_network():
    sizes = [
        inspect.signature(network).parameters["batch_size"].default
        for network in (Embedder, Embedder.load, ImagenetFeatures)
    ]
    assert [UNIT % size for size in (*sizes, YoloDetector.batch_size)] == [0, 0, 0, 0]
