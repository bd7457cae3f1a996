"""Person and camera ids as people have them: text, numbers, bytes, tensors. One meaning for each.

What is unambiguous is converted, all else is refused: a label that silently counts as somebody else
changes every metric, and nobody sees it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from lookalike.errors import UserError

JUNK = "-1"  # the person of junk; the number -1 is the same

Indices = npt.NDArray[np.int64]
Labels = Sequence[object] | npt.NDArray[np.generic] | torch.Tensor
Known = Indices | list[str | int]  # an array where all are whole numbers


def read_labels(labels: Labels, name: str) -> Known:
    """Labels as text without blanks around it, and whole numbers.

    Args:
        labels: N of text, bytes in UTF-8, whole numbers of any type, floats that are whole; in a
            sequence, an array or a tensor.
        name: what they are, for messages.

    Raises:
        UserError: one is of another kind or missing, or they are not one-dimensional.
    """
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu().numpy()
    if isinstance(labels, np.ndarray):
        if labels.ndim != 1:
            raise UserError(f"{name} have shape {labels.shape}: give one label per image")
        if labels.dtype.kind == "i":
            return labels.astype(np.int64)
    known = [_label(label, name) for label in labels]
    if all(type(label) is int for label in known):
        return np.array(known, dtype=np.int64)
    return known


def is_junk(persons: Known, name: str) -> npt.NDArray[np.bool_]:
    """Which persons are junk.

    Raises:
        UserError: one is the number of junk, written otherwise, which might be meant or not.
    """
    if isinstance(persons, np.ndarray):
        return np.asarray(persons == int(JUNK))
    for person in persons:
        text = str(person)
        if text.startswith("-") and text != JUNK and _number(text) == int(JUNK):
            raise UserError(f"{name} hold {text!r}: junk is written {JUNK}")
    return np.array([str(person) == JUNK for person in persons], dtype=np.bool_)


def codes(*sides: Known) -> list[Indices]:
    """Each label as a number from 0, the same on all sides: 7 and "7" are one label."""
    whole = [side for side in sides if isinstance(side, np.ndarray)]
    if len(whole) == len(sides):
        # The same outcome as by text, many times faster.
        _, numbers = np.unique(np.concatenate(whole), return_inverse=True)
        return np.split(numbers.astype(np.int64), np.cumsum([len(x) for x in whole])[:-1])
    known: dict[str, int] = {}
    return [
        np.array([known.setdefault(str(label), len(known)) for label in side], dtype=np.int64)
        for side in sides
    ]


def _label(label: object, name: str) -> str | int:
    if isinstance(label, np.generic | np.ndarray | torch.Tensor) and label.ndim == 0:
        label = label.item()
    if isinstance(label, bytes):
        try:
            label = label.decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{name} hold {label!r}: labels in bytes must be UTF-8") from error
    if isinstance(label, str):
        return str(label.strip())
    if isinstance(label, float) and label.is_integer():  # pandas', where some are missing
        return int(label)
    if isinstance(label, int) and not isinstance(label, bool) and -(2**63) <= label < 2**63:
        return label
    shown = " ".join(repr(label).split())[:60]
    raise UserError(f"{name} hold {shown}: labels must be text or whole numbers")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
