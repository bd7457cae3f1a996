import shutil
import string
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.data.market1501 import (
    FOLDERS,
    PUBLISHED_COUNTS,
    Count,
    ImageName,
    check_counts,
    import_dataset,
    parse_name,
    scan,
)
from lookalike.errors import UserError

labels = st.sampled_from(["-1", "0000", "1501", "c3po-c9"]) | st.text(
    string.ascii_letters + string.digits, min_size=1
)
numbers = st.integers(0, 10**7)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def zip_folder(source: Path, archive: Path, prefix: str) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in tree(source).items():
            file.writestr(f"{prefix}{name}", data)
    return archive


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
        "0001_c1s1_001051_00.jpg.jpg",
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
    check_counts(PUBLISHED_COUNTS)
    with pytest.raises(UserError) as error:
        check_counts({**PUBLISHED_COUNTS, "train": Count(12_935, 751)})
    message = str(error.value)
    assert "train: expected 12,936 images of 751 persons, found 12,935 of 751" in message
    assert "query" not in message
    gallery, distractors, junk = (PUBLISHED_COUNTS[k].images for k in list(PUBLISHED_COUNTS)[2:])
    assert gallery + distractors + junk == 19_732


@pytest.mark.parametrize("prefix", ["", "Market-1501-v15.09.15/"])
def test_import_takes_the_three_folders_from_a_zip(
    rendered: Path, tmp_path: Path, prefix: str
) -> None:
    archive = zip_folder(rendered, tmp_path / "market.zip", prefix)
    with zipfile.ZipFile(archive, "a") as file:
        image = "0001_c1s1_000001_00.jpg"
        for extra in ("readme.txt", "query/Thumbs.db", f"gt_bbox/{image}", f"query/._{image}"):
            file.writestr(f"{prefix}{extra}", b"left behind")
        file.writestr(f"__MACOSX/query/{image}", b"left behind")
    counts = import_dataset(archive, tmp_path / "repo" / "data", expected_counts=False)
    assert tree(tmp_path / "repo" / "data") == tree(rendered)
    assert counts["train"].persons == 5 and counts["query"].persons == 3
    assert counts["junk"] == Count(2, 1)
    assert [path.name for path in (tmp_path / "repo").iterdir()] == ["data"]


def test_import_takes_a_tar_and_a_folder(rendered: Path, tmp_path: Path) -> None:
    archive = tmp_path / "market.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(rendered, "Market-1501-v15.09.15")
    import_dataset(archive, tmp_path / "tar", expected_counts=False)
    nested = tmp_path / "download"
    shutil.copytree(rendered, nested / "Market-1501-v15.09.15")
    (nested / "Market-1501-v15.09.15" / "gt_query").mkdir()
    import_dataset(nested, tmp_path / "folder", expected_counts=False)
    assert tree(tmp_path / "tar") == tree(tmp_path / "folder") == tree(rendered)


def test_import_checks_counts_before_anything_appears(rendered: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: expected 12,936 images of 751 persons, found \d+"):
        import_dataset(rendered, tmp_path / "data", expected_counts=True)
    assert list(tmp_path.iterdir()) == []


def test_import_leaves_other_data_alone(rendered: Path, tmp_path: Path) -> None:
    target = tmp_path / "data"
    import_dataset(rendered, target, expected_counts=False)
    import_dataset(rendered, target, expected_counts=False)  # the same again is fine
    image = next((target / "query").iterdir())
    image.write_bytes(b"mine")
    before = tree(target)
    with pytest.raises(UserError, match="holds other data"):
        import_dataset(rendered, target, expected_counts=False)
    assert tree(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_import_says_what_it_wants(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no folders bounding_box_train"):
        import_dataset(tmp_path / "empty", tmp_path / "data", expected_counts=False)
    with pytest.raises(UserError, match="nothing at"):
        import_dataset(tmp_path / "missing.zip", tmp_path / "data", expected_counts=False)
