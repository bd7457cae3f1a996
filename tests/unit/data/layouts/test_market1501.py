import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.data.layouts.layout import Count, check_counts
from lookalike.data.layouts.market1501 import (
    FOLDERS,
    MARKET1501,
    PUBLISHED_COUNTS,
    ImageName,
    parse_name,
    scan,
)
from lookalike.errors import UserError

labels = st.sampled_from(["-1", "0000", "1501", "c3po-c9"]) | st.text(
    string.ascii_letters + string.digits, min_size=1
)
numbers = st.integers(0, 10**7)


@settings(deadline=None)
@given(st.builds(ImageName, labels, st.integers(0, 200), numbers, numbers, st.integers(0, 999)))
def test_names_come_back(name: ImageName) -> None:
    assert parse_name(str(name)) == name


def test_names_as_published() -> None:
    assert parse_name("0001_c1s1_001051_00.jpg") == ImageName("0001", 1, 1, 1051, 0)
    assert str(ImageName("0001", 1, 1, 1051, 0)) == "0001_c1s1_001051_00.jpg"
    assert parse_name("-1_c6s3_107467_02.jpg") == ImageName("-1", 6, 3, 107467, 2)
    assert parse_name("0000_c12s1_000151_01.jpg") == ImageName("0000", 12, 1, 151, 1)
    assert parse_name("c3po-c9_c11s2_000001_01.jpg") == ImageName("c3po-c9", 11, 2, 1, 1)
    assert parse_name("0001_s1_001051_00.jpg") == ImageName("0001", 0, 1, 1051, 0)


@pytest.mark.parametrize(
    "name",
    [
        "holiday.jpg",
        "0001_c1s1_001051.jpg",
        "0001_c1s1_001051_00.png",
        "0001_c1s1_001051_00.jpg.png",
        "0001_c_s1_001051_00.jpg",
        "-2_c1s1_001051_00.jpg",
        "syn-000001_c1s1_000001_00.jpg",
    ],
)
def test_foreign_names(name: str) -> None:
    assert parse_name(name) is None


def test_scan_lists_what_was_rendered_and_skips_what_is_no_image(repository: Path) -> None:
    data = repository / "data"
    before, problems = scan(data)
    assert not problems
    assert [image.path for image in before] == sorted(
        (image.path for image in before),
        key=lambda path: (list(FOLDERS).index(path.parent.name), path.name),
    )
    assert {image.split for image in before} == set(PUBLISHED_COUNTS)
    for name in ("Thumbs.db", ".DS_Store", "._0001_c1s1_000001_00.jpg"):
        (data / "query" / name).write_bytes(b"x")
    assert scan(data) == (before, [])


def test_scan_names_foreign_and_misplaced_files(repository: Path) -> None:
    data = repository / "data"
    for name in ("holiday.jpg", "0001_c1s1_000001_00.PNG", "0000_c1s1_000001_00.jpg"):
        (data / "query" / name).write_bytes(b"x")
    _, problems = scan(data)
    assert sorted((problem.file, problem.problem) for problem in problems) == [
        ("query/0000_c1s1_000001_00.jpg", "misplaced"),
        ("query/0001_c1s1_000001_00.PNG", "foreign name"),
        ("query/holiday.jpg", "foreign name"),
    ]


def test_scan_wants_the_layout(repository: Path) -> None:
    data = repository / "data"
    for path in (data / "query").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"query has no images"):
        scan(data)
    (data / "query").rmdir()
    with pytest.raises(UserError, match="no folder query"):
        scan(data)


def test_counts_as_published_pass_and_others_are_named() -> None:
    check_counts(MARKET1501, PUBLISHED_COUNTS)
    with pytest.raises(UserError) as error:
        check_counts(MARKET1501, {**PUBLISHED_COUNTS, "train": Count(12_935, 751)})
    message = str(error.value)
    assert "train: expected 12,936 images of 751 persons, found 12,935 of 751" in message
    assert "query" not in message
    gallery, distractors, junk = (PUBLISHED_COUNTS[k].images for k in list(PUBLISHED_COUNTS)[2:])
    assert gallery + distractors + junk == 19_732
