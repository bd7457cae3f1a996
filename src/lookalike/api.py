"""What a script or a notebook needs, in one place: train, embed, rank, draw, measure.

Pipelines and commands do the same with more settings. Features are float [N, D] of any length,
images uint8 RGB [N, H, W, 3], rates fractions of 1; what a user can mend is a `UserError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lookalike.config import Config
from lookalike.data.importing import layout_named
from lookalike.data.layouts.persons import PERSONS
from lookalike.data.loading import Images, to_uint8
from lookalike.device import default_device
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.metrics.folders import compare_folders
from lookalike.metrics.imagenet import ImagenetFeatures
from lookalike.profiles import read as load_params
from lookalike.reid.embedder import Embedder
from lookalike.reid.folder_training import train_on_folder
from lookalike.reid.gallery import Gallery, embed_folder
from lookalike.reid.ranking import Ranking, rank
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.synthesis.latents import ws_from_seeds

__all__ = [
    "Config",
    "Embedder",
    "Gallery",
    "Ranking",
    "UserError",
    "distance",
    "draw",
    "embed",
    "load_params",
    "rank",
    "train",
]

CACHE = Path(".lookalike/cache")  # of the working directory; may be deleted at any time
BATCH = 16  # images drawn at once


def train(
    folder: str | Path,
    output: str | Path,
    params: Config | None = None,
    layout: str = "persons",
) -> dict[str, float]:
    """Train a re-ID model on a folder and save it; killed, it goes on when it is called again.

    Args:
        folder: the pictures.
        output: the .safetensors file to write.
        params: `reid`, `seed` and `evaluate` of it; None: the small defaults.
        layout: persons (`PERSON/IMAGE`), or one of `lookalike data import --as`.

    Returns:
        `rank_1`, `mAP`, `mINP`, ... on the folder's queries; empty where its layout has none.

    Raises:
        UserError: see `reid.folder_training.train_on_folder`.
    """
    chosen = layout_named(layout, persons=PERSONS)
    return train_on_folder(Path(folder), Path(output), chosen, params or Config())


def embed(folder: str | Path, model: str | Path) -> Gallery:
    """Embed every readable picture of a folder and the folders in it, on a GPU where there is one.

    Args:
        folder: JPEG, PNG, BMP and WebP files.
        model: a file of `train` or of the pipeline.

    Raises:
        UserError: no such folder or model, or no readable picture.
    """
    path = Path(model)
    embedder = Embedder.load(path, device=default_device())
    about = {"model": path.name, "weights_sha256": sha256_file(path), "flip": "false"}
    gallery, _ = embed_folder(Path(folder), embedder, about)
    return gallery


def draw(generator: str | Path, seeds: Iterable[int], psi: float = 0.8) -> Images:
    """One image per seed, uint8 [N, H, W, 3] in the generator's own size.

    Args:
        generator: a file of `train_gan`, or an imported checkpoint.
        seeds: 0 or more each; the same seed draws the same person.
        psi: truncation: 1 is none, 0 draws the mean person for all.

    Raises:
        UserError: no such generator; no seed, or one below 0.
    """
    wanted, parts = list(seeds), []
    if not wanted or min(wanted) < 0:
        raise UserError("draw needs seeds, 0 or more each")
    network = load_generator(Path(generator), default_device())
    for start in range(0, len(wanted), BATCH):
        some = wanted[start : start + BATCH]
        parts.append(to_uint8(network.synthesis(ws_from_seeds(network, some, [psi] * len(some)))))
    return np.concatenate(parts)


def distance(real: str | Path, other: str | Path) -> dict[str, float]:
    """How far the pictures of a folder are from those of another one.

    In the features of EfficientNet-Lite2, after which the distances are called; the command
    `lookalike distance` has others.

    Returns:
        `frechet_...`, `kernel_...`, `precision` and `recall`.

    Raises:
        UserError: no such folder, fewer than four pictures, or one that cannot be read.
    """
    space = ImagenetFeatures(device=default_device())
    distances, _ = compare_folders(Path(real), Path(other), space, CACHE)
    return distances
