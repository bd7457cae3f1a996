"""Pixels: in the manifest's order, from files and archives, and back without loss."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import time
import warnings
import zlib
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lookalike.data import loading
from lookalike.data.archives import write_archive
from lookalike.data.decoding import decode
from lookalike.data.loading import (
    CACHE,
    CACHED_FROM,
    encode_jpeg,
    load_images,
    read_bytes,
    resize_batch,
    to_tensor,
    to_uint8,
)
from lookalike.errors import UserError
from lookalike.files import PARTIAL


def png(colour: int, height: int = 8, width: int = 4) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (colour, 0, 255 - colour)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Five images, by turns in an archive and loose, of colours that count."""
    write_archive(tmp_path / "images.zip", [(f"{i}.png", png(i)) for i in (0, 2, 4)])
    for i in (1, 3):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    archives = ["images.zip", "", "images.zip", "", "images.zip"]
    return pd.DataFrame({"archive": archives, "member": [f"{i}.png" for i in range(5)]})


def test_order_of_the_manifest(frame: pd.DataFrame, tmp_path: Path) -> None:
    images = load_images(frame, tmp_path, 8, 4)
    assert images.shape == (5, 8, 4, 3)
    assert images.dtype == np.uint8
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    many = pd.concat([frame] * 20).iloc[::-1]  # more than are in flight at once
    assert load_images(many, tmp_path, 8, 4)[:, 3, 2, 0].tolist() == [4, 3, 2, 1, 0] * 20
    assert load_images(frame[:0], tmp_path, 8, 4).shape == (0, 8, 4, 3)


def test_images_are_resized(frame: pd.DataFrame, tmp_path: Path) -> None:
    images = load_images(frame, tmp_path, 16, 6)
    assert images.shape == (5, 16, 6, 3)
    assert images[3].reshape(-1, 3).tolist() == [[3, 0, 252]] * 96
    np.testing.assert_array_equal(images, resize_batch(load_images(frame, tmp_path, 8, 4), 16, 6))


@pytest.fixture
def large(tmp_path: Path) -> pd.DataFrame:
    """As many images as are cached, with their digests."""
    data = [png(i % 256) for i in range(CACHED_FROM)]
    write_archive(tmp_path / "images.zip", [(f"{i:03d}.png", d) for i, d in enumerate(data)])
    return pd.DataFrame(
        {
            "archive": "images.zip",
            "member": [f"{i:03d}.png" for i in range(CACHED_FROM)],
            "sha256": [hashlib.sha256(d).hexdigest() for d in data],
        }
    )


def cached(root: Path) -> list[Path]:
    return sorted((root / CACHE).glob("*.npy"))


def test_decoded_once_for_all_runs(
    large: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_images(large.drop(columns="sha256"), tmp_path, 16, 6)
    assert not (tmp_path / CACHE).exists(), "what has no digests is not cached"
    first = load_images(large, tmp_path, 16, 6)
    np.testing.assert_array_equal(first, plain)
    (file,) = cached(tmp_path)

    with monkeypatch.context() as patch:
        patch.delattr(loading, "decode")
        again = load_images(large, tmp_path, 16, 6)
        np.testing.assert_array_equal(again, plain)
    assert type(again) is np.ndarray and not again.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that it could write to
        assert torch.equal(to_tensor(again[:3]), to_tensor(plain[:3]))

    load_images(large, tmp_path, 8, 4)  # another size, and other rows in another order
    reverse = load_images(large.iloc[::-1], tmp_path, 16, 6)
    np.testing.assert_array_equal(reverse, plain[::-1])
    assert len(cached(tmp_path)) == 3 and file in cached(tmp_path)


def test_a_damaged_cache_is_made_anew_in_one_line(
    large: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = load_images(large, tmp_path, 8, 4).copy()
    (file,) = cached(tmp_path)
    whole = file.read_bytes()
    other = io.BytesIO()
    np.save(other, np.zeros((4, 8, 4, 3), dtype=np.uint8))
    for damage in (whole[:-1], whole[:60], b"", b"PK\x03\x04" + whole, other.getvalue()):
        file.write_bytes(damage)
        capsys.readouterr()
        np.testing.assert_array_equal(load_images(large, tmp_path, 8, 4), good)
        damaged, decoded = capsys.readouterr().err.splitlines()
        assert "is damaged and will be made anew" in damaged and "decode: 256/256" in decoded
    assert {path.name for path in (tmp_path / CACHE).iterdir()} == {file.name, "lock"}


def test_the_cache_forgets_what_nobody_opened_for_a_month(
    large: pd.DataFrame, tmp_path: Path
) -> None:
    load_images(large, tmp_path, 8, 4)
    load_images(large, tmp_path, 16, 6)
    month = time.time() - 31 * 24 * 3600
    for file in cached(tmp_path):
        os.utime(file, (month, month))
    (tmp_path / CACHE / f"{PARTIAL}killed.npy").touch()
    load_images(large, tmp_path, 8, 4)  # it is in use again
    load_images(large, tmp_path, 4, 4)
    sizes = {np.load(file, mmap_mode="r").shape[1:3] for file in cached(tmp_path)}
    assert sizes == {(8, 4), (4, 4)}
    assert not list((tmp_path / CACHE).glob(f"{PARTIAL}*"))


@pytest.mark.parametrize("count", [8, CACHED_FROM])
def test_an_image_that_the_manifest_does_not_name_is_refused(
    large: pd.DataFrame, tmp_path: Path, count: int
) -> None:
    some = large[:count].copy()
    some.loc[7, "sha256"] = "0" * 64
    with pytest.raises(UserError, match=r"007\.png is not the image that the manifest names"):
        load_images(some, tmp_path, 8, 4)
    assert cached(tmp_path) == []
    with pytest.raises(UserError, match=r"007\.png is not the image that the manifest names"):
        list(read_bytes(some, tmp_path))
    some.loc[7, "sha256"] = ""  # nothing to compare with
    assert len(load_images(some, tmp_path, 8, 4)) == count


@pytest.mark.parametrize("why", ["in the way", "read-only"])
def test_without_a_place_for_the_cache_crops_are_kept_in_memory(
    large: pd.DataFrame,
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if why == "in the way":
        (tmp_path / ".lookalike").write_text(why)
    else:
        (tmp_path / ".lookalike").mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path / ".lookalike")]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no right to mount a file system here")
        request.addfinalizer(lambda: subprocess.run(["umount", mount[-1]], check=True))
    images = load_images(large, tmp_path, 8, 4)
    assert images[:, 0, 0, 0].tolist() == [i % 256 for i in range(CACHED_FROM)]
    assert "kept in memory" in capsys.readouterr().err


def _load_and_count(frame: pd.DataFrame, root: Path) -> tuple[int, int]:
    count = 0

    def counting(data: bytes, name: str) -> Image.Image:
        nonlocal count
        count += 1
        return decode(data, name)

    loading.decode = counting
    return int(load_images(frame, root, 8, 4).sum()), count


def test_of_several_processes_one_decodes(large: pd.DataFrame, tmp_path: Path) -> None:
    with get_context("fork").Pool(3) as pool:
        found = pool.starmap(_load_and_count, [(large, tmp_path)] * 3, chunksize=1)
    assert len({total for total, _ in found}) == 1
    assert sum(count for _, count in found) == CACHED_FROM


def test_only_the_main_process_shows_a_bar(
    frame: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for rank, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        load_images(frame, tmp_path, 8, 4)
        assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize(
    ("archive", "member"),
    [("", "nowhere.png"), ("images.zip", "nowhere.png"), ("nowhere.zip", "0.png"), ("1.png", "x")],
)
def test_what_is_missing_is_named(
    frame: pd.DataFrame, tmp_path: Path, archive: str, member: str
) -> None:
    broken = pd.DataFrame({"archive": [archive], "member": [member]})
    with pytest.raises(UserError, match=f"cannot read {archive + ':' if archive else ''}{member}"):
        list(read_bytes(broken, tmp_path))


def test_damaged_images_are_refused() -> None:
    jpeg = encode_jpeg(np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8))
    for data in (b"", b"not an image", jpeg[:200], png(1)[:-30], b"GIF89a" + bytes(40)):
        with pytest.raises(UserError, match=r"crop\.jpg: not a readable image"):
            decode(data, "crop.jpg")


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_bombs_are_refused_before_they_are_decoded(side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(9)))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(UserError, match=r"bomb\.png: .*(too many|decompression bomb)"):
        decode(bomb, "bomb.png")


def test_tensors_keep_every_value() -> None:
    images = np.arange(256 * 3, dtype=np.int64).astype(np.uint8).reshape(2, 16, 8, 3)
    tensor = to_tensor(images)
    assert tensor.shape == (2, 3, 16, 8)
    assert tensor.is_contiguous()
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert tensor[1, 2, 3, 4] == images[1, 3, 4, 2] / 127.5 - 1
    np.testing.assert_array_equal(to_uint8(tensor), images)


def test_values_out_of_range_are_clamped() -> None:
    tensor = torch.tensor([-3.0, 0.0, 3.0]).view(1, 3, 1, 1)
    assert to_uint8(tensor).tolist() == [[[[0, 128, 255]]]]


def test_jpeg_is_deterministic_and_close() -> None:
    rows = np.linspace(0, 255, 32, dtype=np.uint8)
    image = np.stack(np.broadcast_arrays(rows[:, None], rows[None, :16], 100), axis=-1)
    image = image.astype(np.uint8)
    data = encode_jpeg(image)
    assert data == encode_jpeg(image.copy())
    decoded = np.asarray(decode(data), dtype=np.int64)
    assert np.abs(decoded - image).max() <= 8
    assert len(encode_jpeg(image, quality=50)) < len(data)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()  # any error of the system, not only that the file is missing
    with pytest.raises(UserError, match=r"cannot read a\.jpg"):
        load_images(pd.DataFrame({"archive": [""], "member": ["a.jpg"]}), tmp_path, 8, 4)
