"""Whether what is drawn of a person is still that person, as a re-ID model sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lookalike.data.loading import Images, to_tensor, to_uint8
from lookalike.inversion.encoder import SHOW_PROGRESS_FROM, Encoder, reconstruct
from lookalike.progress import Progress
from lookalike.seeds import derive_seed
from lookalike.synthesis.latents import style_mix

Embeddings = NDArray[np.float32]  # of unit length


def likeness(
    encoder: Encoder,
    embed: Callable[[Images], Embeddings],
    images: Images,
    persons: Sequence[str],
) -> dict[str, float]:
    """How often the nearest real image is one of the right person, in [0, 1].

    The image that was inverted is left out of the gallery: it would be found for its background.

    Args:
        encoder: on trial.
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
        "reconstruction_rank1": embed(reconstruct(encoder, images)),
        "cross_rank1": embed(crosses(encoder, images, persons)),
    }
    return {name: rank1(features, reals, persons) for name, features in drawn.items()}


def rank1(drawn: Embeddings, reals: Embeddings, persons: Sequence[str]) -> float:
    """Share of `drawn` [N, D] whose nearest of the other `reals` [N, D] is of the same person."""
    similarity = drawn @ reals.T
    np.fill_diagonal(similarity, -np.inf)
    names = np.asarray(persons, dtype=str)
    return float((names[similarity.argmax(1)] == names).mean())


@torch.no_grad()
def crosses(
    encoder: Encoder, images: Images, persons: Sequence[str], batch_size: int = 16
) -> Images:
    """Each image's person in the structure of an image of somebody else: uint8 [N, H, W, 3]."""
    names = np.asarray(persons, dtype=str)
    draw = np.random.default_rng(derive_seed("crosses"))
    others = [draw.choice(np.flatnonzero(names != name)) for name in names]
    device = encoder.w_avg.device
    drawn = np.empty_like(images)
    with Progress("cross", len(images), visible=len(images) >= SHOW_PROGRESS_FROM) as bar:
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            who = encoder.invert(to_tensor(images[part], device))
            how = encoder.invert(to_tensor(images[others[part]], device))
            drawn[part] = to_uint8(encoder.generator.synthesis(style_mix(who, how, "structure")))
            bar.advance(len(who))
    return drawn
