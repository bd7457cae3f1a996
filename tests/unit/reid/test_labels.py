"""Labels as people have them: converted where one meaning is possible, refused where not."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lookalike.errors import UserError
from lookalike.reid.labels import Labels
from lookalike.reid.ranking import rank

PERSONS = [-1, 3, 7, -1, 3, 7, 1501]
Colour = Enum("Colour", ["RED"])


def mean_precision(persons: Labels) -> float:
    """Of two queries against a gallery with junk that is more like the query than its matches."""
    gallery = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 1], [0.5, 0.5], [0.5, 0.6], [0.8, 0.1]])
    query = np.array([[1, 0], [0, 1]])
    return rank(query, gallery, [3, 7], persons, ["a", "a"], ["b"] * 7).summary((1,))["mAP"]


@pytest.mark.parametrize(
    "persons",
    [
        np.array(PERSONS),
        np.array(PERSONS, dtype=np.int16),
        np.array(PERSONS, dtype=np.float32),
        np.array(PERSONS, dtype=object),
        [np.int8(p) if p < 100 else np.int64(p) for p in PERSONS],
        [float(p) for p in PERSONS],
        [str(p) for p in PERSONS],
        [f" {p}\n" for p in PERSONS],
        np.array([f" {p}" for p in PERSONS]),
        [str(p).encode() for p in PERSONS],
        np.array([str(p) for p in PERSONS], dtype="S"),
        torch.tensor(PERSONS),
        torch.tensor(PERSONS, dtype=torch.float64),
        list(torch.tensor(PERSONS)),
        [np.array(p) for p in PERSONS],
        pd.Series(PERSONS, index=range(10, 17)),
        pd.Series([str(p) for p in PERSONS], dtype="category"),
        pd.array(PERSONS, dtype="Int64"),
        tuple(PERSONS),
    ],
    ids=lambda persons: (
        f"{type(persons).__name__}-{getattr(persons, 'dtype', type(persons[0]))}"
        if not isinstance(persons, pd.Series)
        else f"Series-{persons.dtype}"
    ),
)
def test_one_meaning_whatever_the_type(persons: Any) -> None:
    assert mean_precision(persons) == mean_precision(PERSONS) < 1
    junk_is_somebody = [9 if person == -1 else person for person in PERSONS]
    assert mean_precision(junk_is_somebody) < mean_precision(persons)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (None, "gallery: persons hold None: labels must be text or whole numbers"),
        (float("nan"), "hold nan"),
        (float("inf"), "hold inf"),
        (0.5, r"hold 0\.5"),
        (True, "hold True"),
        (np.True_, "hold True"),
        (pd.NA, "hold <NA>"),
        (b"\xff", "must be UTF-8"),
        (Colour.RED, "hold <Colour.RED: 1>"),
        ((3,), r"hold \(3,\)"),
        (torch.tensor([3]), r"hold tensor\(\[3\]\)"),
        (2**64, "hold 18446744073709551616"),
        ("-1.0", "hold '-1.0': junk is written -1"),
        ("-01", "hold '-01': junk is written -1"),
    ],
)
def test_other_labels_are_refused(first: Any, message: str) -> None:
    for rest in (PERSONS[1:], [str(person) for person in PERSONS[1:]]):
        with pytest.raises(UserError, match=message) as caught:
            mean_precision([first, *rest])
        assert "\n" not in str(caught.value)


def test_columns_of_a_matrix_are_refused() -> None:
    for column in (np.array(PERSONS)[:, None], torch.tensor(PERSONS)[:, None]):
        with pytest.raises(UserError, match=r"gallery: persons have shape \(7, 1\)"):
            mean_precision(column)


def test_text_keeps_its_zeros() -> None:
    assert mean_precision([f"{p:04d}" if p > 0 else "-1" for p in PERSONS[:-1]] + ["7"]) != (
        mean_precision(PERSONS)
    )
