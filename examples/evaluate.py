"""Rank-1, mAP and mINP of features from any framework: evaluate.py FEATURES.npz."""

import sys

import numpy as np

from lookalike.api import rank

SIDES = ("query", "gallery", "query_persons", "gallery_persons", "query_cameras", "gallery_cameras")
arrays = np.load(sys.argv[1])
found = rank(*(arrays[name] for name in SIDES)).summary()
print({name: round(value, 4) for name, value in found.items()})
