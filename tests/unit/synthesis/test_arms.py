"""Which generated rows an arm takes."""

import pandas as pd
import pytest

from lookalike.config import ArmConfig
from lookalike.synthesis.arms import select


@pytest.fixture
def kept() -> pd.DataFrame:
    """Three persons with three images each, unsorted; one was rejected."""
    rows = [(f"p{p}", f"p{p}-{i}") for p in (2, 0, 1) for i in (2, 0, 1) if (p, i) != (0, 0)]
    return pd.DataFrame(rows, columns=["person_id", "image_id"])


def chosen(frame: pd.DataFrame, **limits: int) -> list[str]:
    selected = select(frame, ArmConfig(images=("persons",), **limits))
    assert list(selected.index) == list(range(len(selected)))
    return list(selected["image_id"])


def test_all_rows_in_order(kept: pd.DataFrame) -> None:
    expected = ["p0-1", "p0-2", "p1-0", "p1-1", "p1-2", "p2-0", "p2-1", "p2-2"]
    assert chosen(kept) == expected


def test_limits(kept: pd.DataFrame) -> None:
    assert chosen(kept, max_persons=2) == ["p0-1", "p0-2", "p1-0", "p1-1", "p1-2"]
    assert chosen(kept, max_images_per_person=1) == ["p0-1", "p1-0", "p2-0"]
    assert chosen(kept, max_persons=1, max_images_per_person=1) == ["p0-1"]
    assert chosen(kept, max_persons=99) == chosen(kept)


def test_a_larger_limit_only_adds(kept: pd.DataFrame) -> None:
    for limit in ("max_persons", "max_images_per_person"):
        sets = [set(chosen(kept, **{limit: n})) for n in (1, 2, 3)]
        assert sets[0] < sets[1] <= sets[2]


def test_nothing_kept(kept: pd.DataFrame) -> None:
    assert chosen(kept.head(0)) == []
