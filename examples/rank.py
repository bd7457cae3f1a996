"""Find each person of one folder in another: rank.py QUERIES GALLERY MODEL.safetensors."""

import sys

from lookalike.api import embed

queries, gallery = (embed(folder, sys.argv[3]) for folder in sys.argv[1:3])
positions, similarities = gallery.search(queries.embeddings, 3)
for name, found, scores in zip(queries.files, positions, similarities, strict=True):
    best = [f"{gallery.files[i]} ({score:.2f})" for i, score in zip(found, scores, strict=True)]
    print(f"{name}: {', '.join(best)}")
