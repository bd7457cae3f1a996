from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from lookalike.formats import HEAD, format_of, format_of_file


def written(write: Any) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def zipped(stream: io.BytesIO) -> None:
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.txt", "text")


def tarred(stream: io.BytesIO) -> None:
    with tarfile.open(fileobj=stream, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.txt"))


def picture(kind: str) -> bytes:
    return written(lambda stream: Image.new("RGB", (9, 9)).save(stream, kind))


KINDS = {
    "an empty file": b"",
    "a file of zeros": bytes(1000),
    "a zip archive": written(zipped),
    "a PyTorch file (.pt, .pth)": written(lambda stream: torch.save({"a": torch.ones(3)}, stream)),
    "a tar archive": written(tarred),
    "a gzip file": gzip.compress(b"x", mtime=0),
    "a bzip2 file": bz2.compress(b"x"),
    "an xz file": lzma.compress(b"x"),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(range(99)),
    "a RAR archive": b"Rar!\x1a\x07\x01\0" + bytes(range(99)),
    "a safetensors file": save({"a": torch.ones(3)}),
    "a pickle": pickle.dumps([1]),
    "a NumPy array": written(lambda stream: np.save(stream, np.ones(3))),
    "a JPEG picture": picture("JPEG"),
    "a PNG picture": picture("PNG"),
    "a WebP picture": picture("WEBP"),
    "an HTML page": b"\r\n<!DOCTYPE html><html>Sign in</html>",
    "an XML document": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "JSON text": json.dumps({"message": "Not Found"}).encode(),
    "a text file": "J\u00fcrgen".encode() * HEAD,
    "a pointer of Git LFS (`git lfs pull` gets the file)": b"version https://git-lfs.github.com/sp",
    "a file of an unknown kind": bytes(range(1, 256)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_told_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    assert format_of(KINDS[kind]) == kind
    (tmp_path / "file.zip").write_bytes(KINDS[kind])
    assert format_of_file(tmp_path / "file.zip") == kind


def test_what_the_disk_holds(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as base:
        base.execute("create table a (b)")
    assert format_of_file(tmp_path / "a.db") == "an SQLite database"
    assert format_of_file(tmp_path) == "a folder"
    assert format_of_file(tmp_path / "gone") == "a file that cannot be read"
