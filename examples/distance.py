"""How far generated pictures are from real ones: distance.py REAL GENERATED."""

import sys

from lookalike.api import distance

for name, value in distance(*sys.argv[1:]).items():
    print(f"{name}: {value:.4f}")
