"""Shares end where the batches of one process end."""

from __future__ import annotations

import inspect

import numpy as np

from lookalike.filtering.detectors import YoloDetector
from lookalike.filtering.sharing import UNIT, shared
from lookalike.metrics.imagenet import ImagenetFeatures
from lookalike.reid.embedder import Embedder
from lookalike.training.session import Session


def test_a_share_is_whole_batches_of_every_network():
    sizes = [
        inspect.signature(network).parameters["batch_size"].default
        for network in (Embedder, Embedder.load, ImagenetFeatures)
    ]
    assert [UNIT % size for size in (*sizes, YoloDetector.batch_size)] == [0, 0, 0, 0]


def test_one_process_makes_all_at_once():
    images = np.zeros((100, 2, 1, 3), np.uint8)
    seen = []
    shared(lambda mine: seen.append(mine) or np.zeros(len(mine)), images, Session(seed=1))
    assert len(seen) == 1
    assert seen[0] is images
