"""A folder of pictures that a generator drew, with a JSON file that says how each was drawn.

Pictures are drawn one at a time, so that the pixels of a seed do not depend on its company: kernels
choose their order of summation by the shape of a batch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lookalike.arguments import any_folder
from lookalike.data.loading import to_uint8
from lookalike.device import default_device
from lookalike.files import sha256_file, write_text
from lookalike.names import counted
from lookalike.progress import say
from lookalike.report.figures import Band, draw_sheet
from lookalike.report.video import write_video
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.kinds.persons import person_latents
from lookalike.synthesis.latents import labels_of
from lookalike.synthesis.recipes import PlannedImage, Recipe
from lookalike.training.model_file import load_model

Pixels = npt.NDArray[np.uint8]  # [H, W, 3], RGB

SHEET_SIDE = 128  # sheets and videos enlarge small canvases to about this many pixels
VIDEO_SIDE = 256


@dataclass(frozen=True)
class Motion:
    """The scene rotated about the canvas's centre, then shifted."""

    x: float = 0.0
    """To the right, in shares of the canvas's longer side."""
    y: float = 0.0
    """Downwards, in the same unit."""
    angle: float = 0.0
    """Anticlockwise, in degrees."""

    def transform(self) -> torch.Tensor:
        """What the generator's input takes: float32 [3, 3], from output to input coordinates."""
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        # y points down, so anticlockwise is (x, y) -> (x cos + y sin, -x sin + y cos).
        rotation = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        shift = np.array([[1, 0, self.x], [0, 1, self.y], [0, 0, 1]])
        return torch.from_numpy(np.linalg.inv(shift @ rotation)).float()

    def times(self, amount: float) -> Motion:
        """This motion in part; -1 is the way back."""
        return Motion(*(round(amount * value, 9) + 0.0 for value in (self.x, self.y, self.angle)))


@dataclass(frozen=True)
class Picture:
    """All that it takes, besides the generator, to draw one picture."""

    seed: int
    recipe: Recipe
    motion: Motion | None = None


@torch.no_grad()
def draw(generator: Generator, picture: Picture) -> Pixels:
    """The picture, uint8 [height, width, 3]."""
    ws = person_latents(generator, [PlannedImage("", "", picture.recipe, picture.seed)]).ws
    transform = picture.motion.transform().to(ws.device) if picture.motion else None
    image: Pixels = to_uint8(generator.synthesis(ws, transform=transform))[0]
    return image


class Album:
    """A folder of pictures in the making, and what its JSON file will say."""

    def __init__(self, generator_file: Path, folder: Path, name: str, label: str = "") -> None:
        """Load the generator (on the GPU where there is one); `label` is the class to draw.

        Raises:
            UserError: no such generator or class, or the folder is a file.
        """
        any_folder(folder)
        self.generator = load_generator(generator_file, default_device())
        labels_of(self.generator, [0], [label])
        self.folder, self.name, self.label = folder, name, label
        self.source = {
            "file": generator_file.name,
            "sha256": sha256_file(generator_file),
            "provenance": load_model(generator_file, "stylegan3").recipe,
        }
        self.pictures: list[dict[str, Any]] = []

    def draw(self, picture: Picture, file: str, **place: int) -> Pixels:
        """Draw a picture that goes into a file, at a place within it; see `note`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.note(picture, file, **place)
        return draw(self.generator, picture)

    def note(self, picture: Picture, file: str, **place: int) -> None:
        """Put down that a file shows a picture, and where (frame, or row and column, from 0)."""
        recipe, motion = picture.recipe, picture.motion
        entry = {"file": file, **place, "seed": picture.seed, "recipe": str(recipe)}
        entry |= {"psi": recipe.psi} | ({"motion": asdict(motion)} if motion else {})
        self.pictures.append(entry)

    def enlargement(self, side: int) -> int:
        """The whole factor by which the canvas reaches about `side` pixels; 1 for larger ones."""
        design = self.generator.config
        return max(1, side // max(design.height, design.width))

    def sheet(self, bands: Sequence[Band], file: str) -> None:
        """Write a sheet of the pictures."""
        draw_sheet(bands, self.folder / file, self.enlargement(SHEET_SIDE))

    def video(self, frames: Iterable[Pixels], file: str) -> None:
        """Write a video of the pictures."""
        write_video(frames, self.folder / file, scale=self.enlargement(VIDEO_SIDE))

    def close(self, *others: str) -> None:
        """Write the JSON file: every picture, and the digest of every file (and of `others`)."""
        names = sorted({entry["file"] for entry in self.pictures} | set(others))
        files = {name: sha256_file(self.folder / name) for name in names}
        # A line for each picture.
        lines = ",\n".join(json.dumps(picture) for picture in self.pictures)
        parts = [
            f'"generator": {json.dumps(self.source)}',
            f'"files": {json.dumps(files, indent=1)}',
        ]
        parts.append(f'"pictures": [\n{lines}\n]')
        write_text(self.folder / f"{self.name}.json", "{" + ",\n".join(parts) + "}\n")
        written = counted(len(names), "file")
        say(f"{self.folder}: {written}; {self.name}.json says how each was drawn")
