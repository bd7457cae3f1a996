"""Galleries: saved and loaded, checked, searched; bad pictures named and left out."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.config import ReidConfig
from lookalike.data import decoding
from lookalike.data.loading import Images, encode_jpeg
from lookalike.errors import UserError
from lookalike.reid import gallery as reid_gallery
from lookalike.reid.embedder import Embedder
from lookalike.reid.gallery import Gallery, embed_folder
from lookalike.reid.model import new_reid

MODEL = {"model": "test v1", "weights_sha256": "ab", "flip": "false"}
Crops = tuple[Images, list[str]]


@pytest.fixture
def embedder(config: ReidConfig) -> Embedder:
    torch.manual_seed(0)
    return Embedder(new_reid(config, 3))


@pytest.fixture
def folder(crops: Crops, tmp_path: Path) -> Path:
    """Eight pictures, one in a folder of its own, and what is none."""
    folder = tmp_path / "pictures [of] people"
    (folder / "më").mkdir(parents=True)
    for index, image in enumerate(crops[0]):
        place = folder / "më" if index == 7 else folder
        (place / f"{index}.jpg").write_bytes(encode_jpeg(image))
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "cut.PNG").write_bytes((folder / "0.jpg").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a picture, and not meant to be one")
    return folder


def test_bad_pictures_are_named_and_left_out(embedder: Embedder, folder: Path) -> None:
    gallery, bad = embed_folder(folder, embedder, MODEL)
    assert gallery.files == (*(f"{n}.jpg" for n in range(7)), "më/7.jpg")
    assert set(bad) == {"broken.jpg", "cut.PNG"}
    assert bad["broken.jpg"] == "not a readable image (unknown format)"
    np.testing.assert_allclose(np.linalg.norm(gallery.embeddings, axis=1), 1, atol=1e-5)
    for name in gallery.files:
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"no readable picture; 2 left out: broken\.jpg"):
        embed_folder(folder, embedder, MODEL)
    with pytest.raises(UserError, match="no folder"):
        embed_folder(folder / "nowhere", embedder, MODEL)


def test_links_are_followed_and_those_to_nothing_named(
    embedder: Embedder, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    shutil.copy(folder / "0.jpg", tmp_path / "disk" / "a.jpg")
    (folder / "more").symlink_to(tmp_path / "disk")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    gallery, bad = embed_folder(folder, embedder, MODEL)
    assert "more/a.jpg" in gallery.files
    assert "No such file" in bad["gone.jpg"]


def test_a_phones_picture_is_embedded_upright(embedder: Embedder, tmp_path: Path) -> None:
    person = np.random.default_rng(0).integers(0, 256, (48, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it upright
    Image.fromarray(person).save(tmp_path / "upright.png")
    Image.fromarray(np.rot90(person)).save(tmp_path / "turned.png", exif=exif)
    grey = np.repeat(person[..., :1], 3, axis=2)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "wide.png"), person[..., 0].astype(np.uint16) * 257)  # 16 bits
    gallery, _ = embed_folder(tmp_path, embedder, MODEL)
    rows = dict(zip(gallery.files, gallery.embeddings, strict=True))
    np.testing.assert_allclose(rows["turned.png"], rows["upright.png"], atol=1e-6)
    np.testing.assert_allclose(rows["wide.png"], rows["grey.png"], atol=1e-6)


def test_a_diverged_model_makes_no_gallery(embedder: Embedder, folder: Path) -> None:
    with torch.no_grad():
        embedder.model.embedding.weight[0] = torch.nan
    with pytest.raises(UserError, match="test v1 gives embeddings with NaN"):
        embed_folder(folder, embedder, MODEL)


def test_saved_loaded_and_searched(embedder: Embedder, folder: Path, tmp_path: Path) -> None:
    gallery, _ = embed_folder(folder, embedder, MODEL)
    path = tmp_path / "new" / "gallery.npz"
    gallery.save(path)
    loaded = Gallery.load(path)
    assert (loaded.files, loaded.model) == (gallery.files, MODEL)
    assert loaded.folder == folder
    np.testing.assert_array_equal(loaded.embeddings, gallery.embeddings)

    indices, similarities = loaded.search(gallery.embeddings, 3)
    np.testing.assert_array_equal(indices[:, 0], np.arange(8))
    expected = np.sort(gallery.embeddings @ gallery.embeddings.T, axis=1)[:, ::-1][:, :3]
    np.testing.assert_allclose(similarities, expected, atol=1e-5)
    assert loaded.search(gallery.embeddings[:1], 99)[0].shape == (1, 8)

    loaded.check_model({**MODEL, "model": "another name"}, path)
    with pytest.raises(UserError, match="weights_sha256 differs"):
        loaded.check_model({**MODEL, "weights_sha256": "cd"}, path)
    with pytest.raises(UserError, match="flip differs"):
        loaded.check_model({**MODEL, "flip": "true"}, path)


def test_what_is_damaged_or_changed_is_refused(
    embedder: Embedder, folder: Path, tmp_path: Path
) -> None:
    gallery, _ = embed_folder(folder, embedder, MODEL)
    path = tmp_path / "gallery.npz"
    gallery.save(path)
    whole = path.read_bytes()
    with np.load(path) as content:
        parts = dict(content)
    with pytest.raises(UserError, match="no gallery at"):
        Gallery.load(tmp_path / "nowhere.npz")
    for damage in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(damage)
        with pytest.raises(UserError, match="is no gallery"):
            Gallery.load(path)
    for change in ({"files": parts["files"][::-1]}, {"embeddings": -parts["embeddings"]}):
        np.savez(path, **{**parts, **change})
        with pytest.raises(UserError, match="digest does not fit"):
            Gallery.load(path)
    np.savez(path, files=parts["files"])
    with pytest.raises(UserError, match="is no gallery"):
        Gallery.load(path)
    for content, kind in (
        (b"", "an empty file"),
        (b"<html>", "an HTML page"),
        (b"x", "a text file"),
    ):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=f"is no gallery: it is {kind}; `lookalike embed` makes"
        ):
            Gallery.load(path)
    path.write_bytes(whole)
    assert Gallery.load(path).files == gallery.files


def test_pictures_are_decoded_by_several_threads(
    embedder: Embedder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, bad = embed_folder(folder, embedder, MODEL)
    meeting = threading.Barrier(2, timeout=20)

    def decode(data: bytes, name: str) -> Image.Image:
        if name in ("0.jpg", "1.jpg"):
            meeting.wait()
        return decoding.decode(data, name)

    monkeypatch.setattr(reid_gallery, "decode", decode)
    monkeypatch.setattr(reid_gallery, "AT_ONCE", 4)
    found, also_bad = embed_folder(folder, embedder, MODEL)
    assert (found.files, also_bad) == (expected.files, bad)
    np.testing.assert_allclose(found.embeddings, expected.embeddings, atol=1e-5)
