"""Which generated rows an arm takes."""

import pandas as pd
import pytest

from lookalike.config import ArmConfig
from lookalike.synthesis.arms import select


@pytest.fixture
def filtered() -> pd.DataFrame:
    """Three persons with three images each, unsorted; one image rejected."""
    rows = [(f"p{p}", f"p{p}-{i}", "kept") for p in (2, 0, 1) for i in (2, 0, 1)]
    frame = pd.DataFrame(rows, columns=["person_id", "image_id", "verdict"])
    frame.loc[frame["image_id"] == "p0-0", "verdict"] = "rejected"
    return frame


def chosen(frame: pd.DataFrame, **limits: int) -> list[str]:
    selected = select(frame, ArmConfig(images=("persons",), **limits))
    assert list(selected.index) == list(range(len(selected)))
    return list(selected["image_id"])


def test_all_kept_rows_in_order(filtered: pd.DataFrame) -> None:
    expected = ["p0-1", "p0-2", "p1-0", "p1-1", "p1-2", "p2-0", "p2-1", "p2-2"]
    assert chosen(filtered) == expected


def test_limits(filtered: pd.DataFrame) -> None:
    assert chosen(filtered, max_persons=2) == ["p0-1", "p0-2", "p1-0", "p1-1", "p1-2"]
    assert chosen(filtered, max_images_per_person=1) == ["p0-1", "p1-0", "p2-0"]
    assert chosen(filtered, max_persons=1, max_images_per_person=1) == ["p0-1"]
    assert chosen(filtered, max_persons=99) == chosen(filtered)


def test_a_larger_limit_only_adds(filtered: pd.DataFrame) -> None:
    for limit in ("max_persons", "max_images_per_person"):
        sets = [set(chosen(filtered, **{limit: n})) for n in (1, 2, 3)]
        assert sets[0] < sets[1] <= sets[2]


def test_nothing_kept(filtered: pd.DataFrame) -> None:
    assert chosen(filtered.assign(verdict="rejected")) == []
