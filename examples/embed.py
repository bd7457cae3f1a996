"""Embed the pictures of a folder and keep them: embed.py FOLDER MODEL.safetensors."""

import sys

from lookalike.api import embed

folder, model = sys.argv[1:]
gallery = embed(folder, model)
print(gallery.embeddings.shape, "of", gallery.files[0], "and others")
gallery.save(gallery.folder.with_suffix(".npz"))
