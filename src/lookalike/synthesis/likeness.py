"""Whether what is drawn of a person is still that person, as a re-ID model sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lookalike.data.loading import Images
from lookalike.inversion.encoder import draw_all
from lookalike.seeds import derive_seed
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.latents import style_mix

Embeddings = NDArray[np.float32]  # of unit length


def likeness(
    generator: Generator,
    ws: Tensor,
    embed: Callable[[Images], Embeddings],
    images: Images,
    persons: Sequence[str],
) -> dict[str, float]:
    """How often the nearest real image is one of the right person, in [0, 1].

    The image that was inverted is left out of the gallery: it would be found for its background.

    Args:
        generator: that draws.
        ws: latents of the images, [N, num_ws, w_dim].
        embed: uint8 [N, H, W, 3] to unit features [N, D].
        images: uint8 [N, H, W, 3] at the generator's size, of persons new to the encoder.
        persons: of the images [N].

    Returns:
        `real_rank1` of the images themselves, which is what can be reached; `reconstruction_rank1`;
        and `cross_rank1` of each person in the structure of an image of somebody else.
    """
    reals = embed(images)
    drawn = {
        "real_rank1": reals,
        "reconstruction_rank1": embed(draw_all(generator, ws)),
        "cross_rank1": embed(draw_all(generator, crosses(ws, persons), "cross")),
    }
    return {name: rank1(features, reals, persons) for name, features in drawn.items()}


def rank1(drawn: Embeddings, reals: Embeddings, persons: Sequence[str]) -> float:
    """Share of `drawn` [N, D] whose nearest of the other `reals` [N, D] is of the same person."""
    similarity = drawn @ reals.T
    np.fill_diagonal(similarity, -np.inf)
    names = np.asarray(persons, dtype=str)
    return float((names[similarity.argmax(1)] == names).mean())


def crosses(ws: Tensor, persons: Sequence[str]) -> Tensor:
    """Each image's person in the structure of an image of somebody else: [N, num_ws, w_dim]."""
    names = np.asarray(persons, dtype=str)
    draw = np.random.default_rng(derive_seed("crosses"))
    others = [draw.choice(np.flatnonzero(names != name)) for name in names]
    return style_mix(ws, ws[others], "structure")
