"""Manifests: the same bytes for the same rows, wrong tables refused, who queries whom."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.data import manifest
from lookalike.data.manifest import SCHEMA, new_manifest, read_manifest, write_manifest
from lookalike.errors import UserError
from lookalike.files import sha256_file


def row(image_id: str, person: str = "0001", camera: int = 1, split: str = "train") -> dict:
    return {
        "image_id": image_id,
        "person_id": person,
        "camera_id": camera,
        "split": split,
        "origin": "real",
        "member": f"data/{image_id}.jpg",
        "width": 64,
        "height": 128,
        "sha256": "0" * 64,
    }


def test_round_trip_and_same_bytes(tmp_path: Path) -> None:
    made = {"seed": 7, "origin": "person"}
    frame = new_manifest([row("a") | {"seed": -1}, row("b") | made])
    first, second = tmp_path / "deep" / "a.parquet", tmp_path / "b.parquet"
    write_manifest(frame, first)
    read = read_manifest(first)
    pd.testing.assert_frame_equal(read, frame)
    assert list(read["seed"]) == [-1, 7]
    assert read["camera_id"].dtype == "int32"
    write_manifest(read.set_index(pd.Index([5, 6])), second)
    assert first.read_bytes() == second.read_bytes()
    assert sha256_file(first) == sha256_file(second)
    assert [path.name for path in first.parent.iterdir()] == ["a.parquet"]


def test_empty_manifest(tmp_path: Path) -> None:
    write_manifest(new_manifest([]), tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet").empty


def test_unknown_and_missing_columns() -> None:
    with pytest.raises(ValueError, match="unknown manifest columns: colour"):
        new_manifest([row("a") | {"colour": "red"}])
    incomplete = row("a")
    del incomplete["sha256"]
    with pytest.raises(ValueError, match="column sha256 is missing"):
        new_manifest([incomplete])


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    with pytest.raises(UserError, match=r"no manifest at .*dvc repro"):
        read_manifest(path)
    path.write_bytes(b"not Parquet at all")
    with pytest.raises(UserError, match="not a readable Parquet"):
        read_manifest(path)
    pq.write_table(pa.table({"image_id": ["a"]}), path)
    with pytest.raises(UserError, match="is not a manifest"):
        read_manifest(path)
    write_manifest(new_manifest([row("a")]), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="not a readable Parquet"):
        read_manifest(path)


def test_columns_are_those_of_the_schema() -> None:
    assert list(new_manifest([row("a")]).columns) == SCHEMA.names


def test_validation_queries_are_the_first_of_person_and_camera() -> None:
    frame = new_manifest(
        [
            row("d", "0001", 2, "val"),
            row("b", "0001", 1, "val"),
            row("a", "0001", 1, "val"),
            row("c", "0002", 1, "val"),
            row("e", "0003", 1, "train"),
        ]
    )
    query, gallery = manifest.validation_protocol(frame)
    assert list(query["image_id"]) == ["a", "c", "d"]
    assert list(gallery["image_id"]) == ["b"]
    assert list(query.index) == [0, 1, 2]


def test_test_gallery_has_distractors_and_no_junk() -> None:
    splits = ["query", "gallery", "distractor", "junk", "train", "val"]
    frame = new_manifest([row(name, split=name) for name in splits])
    query, gallery = manifest.test_protocol(frame)
    assert list(query["image_id"]) == ["query"]
    assert list(gallery["image_id"]) == ["distractor", "gallery"]
