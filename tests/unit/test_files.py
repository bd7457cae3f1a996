"""Files are there whole or not at all; digests are of bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from lookalike.files import md5_file, replacing, sha256_file, sha256_path, write_text


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.b"
    with replacing(path) as partial:
        partial.write_text("first")
        assert not path.exists()
    with pytest.raises(ValueError, match="disk"), replacing(path) as partial:
        partial.write_text("half")
        raise ValueError("disk full")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_text_replaces_text_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "names.json"
    write_text(path, "früher")
    write_text(path, "später")
    assert path.read_bytes().decode("utf-8") == "später"
    assert list(path.parent.iterdir()) == [path]


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    one, two = tmp_path / "a" / "b" / "one", tmp_path / "a" / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    assert sha256_file(one) == sha256_path(one) == hashlib.sha256(b"1").hexdigest()
    assert md5_file(one) == hashlib.md5(b"1").hexdigest()
    listed = f"b/one:{sha256_file(one)}\ntwo:{sha256_file(two)}\n"
    assert sha256_path(tmp_path / "a") == hashlib.sha256(listed.encode()).hexdigest()


def test_a_folders_digest_sees_behind_links_and_takes_any_name(tmp_path: Path) -> None:
    data, disk = tmp_path / "data", tmp_path / "disk"
    for folder in (data, disk):
        folder.mkdir()
    (data / "train").symlink_to(disk)
    (data / "gone").symlink_to("nowhere")
    (disk / os.fsdecode(b"J\xfcrgen.jpg")).write_bytes(b"one")
    before = sha256_path(data)
    (disk / os.fsdecode(b"J\xfcrgen.jpg")).write_bytes(b"two")
    assert sha256_path(data) != before
