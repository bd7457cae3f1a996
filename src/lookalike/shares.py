"""Whole images of a batch, from the share that parameters name."""

from __future__ import annotations


def beside(real: int, share: float, unit: int) -> int:
    """How many generated images stand beside `real` ones to be this share of both together.

    In multiples of `unit`. Here and not beside the parameters, because stages depend on it.
    """
    return round(real * share / (1 - share) / unit) * unit
