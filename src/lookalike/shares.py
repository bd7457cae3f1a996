"""Whole images of a batch, from the share that parameters name."""

from __future__ import annotations


def split_by_share(count: int, share: float, unit: int) -> tuple[int, int]:
    """How many of `count` images are real and generated, in multiples of `unit`.

    Here and not beside the parameters, because stages depend on it.
    """
    generated = round(share * count / unit) * unit
    return count - generated, generated
