from __future__ import annotations

import os
from pathlib import Path

import pytest

from lookalike.disk import alike, files_below, is_utf8, pictures_in, printable, some, what_is_in
from lookalike.errors import UserError


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    for name in ("data/b/2.jpg", "data/a.jpg", "disk/deep/3.jpg", "disk/4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    data = tmp_path / "data"
    (data / "c").symlink_to(tmp_path / "disk")
    (data / "d.jpg").symlink_to(tmp_path / "disk" / "4.jpg")
    (data / "e.jpg").symlink_to("nowhere")
    (data / "b" / "up").symlink_to(data)
    (tmp_path / "disk" / "deep" / "there").symlink_to(data / "b")  # a loop by way of two links
    os.mkfifo(data / "pipe.jpg")  # nobody may wait for it
    found = [path.relative_to(data).as_posix() for path in files_below(data)]
    assert found == sorted(found)
    assert {"a.jpg", "b/2.jpg", "c/4.jpg", "c/deep/3.jpg", "d.jpg", "e.jpg"} <= set(found)
    assert len(found) < 20 and "pipe.jpg" not in found
    (tmp_path / "link").symlink_to(data)
    assert len(files_below(tmp_path / "link")) == len(found)
    with pytest.raises(UserError, match=r"cannot read .*gone: No such file"):
        files_below(tmp_path / "gone")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Mu\u0308ller/1.jpg", "M\u00fcller/1.jpg", True),
        ("Hall/1.JPG", "hall/1.jpg", True),
        ("1.jpg.jpg", "1.jpg", True),
        ("1.JPG.jpg.jpg", "1.jpg", True),
        ("1.jpg.png", "1.jpg", False),
        ("1.jpg", "11.jpg", False),
        ("jpg", "jpg.jpg", False),
    ],
)
def test_names_that_mean_the_same_file(one: str, other: str, same: bool) -> None:
    assert (alike(one) == alike(other)) is same


def test_names_in_messages(tmp_path: Path) -> None:
    name = os.fsdecode(b"J\xfcrgen.jpg")
    assert not is_utf8(name) and is_utf8("J\u00fcrgen.jpg")
    assert printable(name) == r"J\xfcrgen.jpg"
    assert some("abcdef") == "a, b, c, d and 2 more"
    assert what_is_in(tmp_path / "x") == "there is no such folder"
    assert what_is_in(tmp_path) == "it is empty"
    (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    assert what_is_in(tmp_path) == r"it holds J\xfcrgen.jpg, sub/"


def test_a_file_in_place_of_a_folder_of_pictures_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UserError, match=r"a\.jpg is a file, not a folder"):
        pictures_in(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="no folder at"):
        pictures_in(tmp_path / "b")
