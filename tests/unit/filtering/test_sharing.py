"""Shares end where the batches of one process end, or between persons."""

from __future__ import annotations

import inspect

import numpy as np

from lookalike.filtering.detectors.yolov4_tiny import YoloDetector
from lookalike.filtering.sharing import UNIT, Groups, shared_by_person
from lookalike.metrics.imagenet import ImagenetFeatures
from lookalike.reid.embedder import Embedder

from .making import angled


def test_a_share_is_whole_batches_of_every_network():
    sizes = [
        inspect.signature(network).parameters["batch_size"].default
        for network in (Embedder, Embedder.load, ImagenetFeatures)
    ]
    assert [UNIT % size for size in (*sizes, YoloDetector.batch_size)] == [0, 0, 0, 0]


def test_what_is_made_by_person_comes_back_in_the_order_of_the_rows():
    crops = angled(["b", "a", "b", "c", "a"], [0, 0, 0, 0, 0])
    asked = []

    def make(groups: Groups) -> np.ndarray:
        asked.extend(rows.tolist() for rows in groups)
        return np.concatenate([np.empty(0), *groups])

    assert shared_by_person(make, crops, None).tolist() == [0, 1, 2, 3, 4]
    assert asked == [[1, 4], [0, 2], [3]]
    assert shared_by_person(make, crops.where(np.zeros(5, bool)), None).shape == (0,)
