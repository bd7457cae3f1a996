"""Draw persons with a generator and keep the pictures: draw.py GENERATOR.safetensors FOLDER."""

import sys
from pathlib import Path

from PIL import Image

from lookalike.api import draw

generator, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(exist_ok=True)
for seed, image in enumerate(draw(generator, range(4))):
    Image.fromarray(image).save(folder / f"{seed}.png")
