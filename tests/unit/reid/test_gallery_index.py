"""An index finds what exact search finds, and is refused where it does not fit its gallery."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import UserError
from lookalike.reid import gallery_index
from lookalike.reid.gallery import Gallery
from lookalike.reid.gallery_index import IndexedGallery, index_gallery, load_gallery

MODEL = {"model": "test v1", "weights_sha256": "ab", "flip": "false"}
SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gallery_index.py"


def people(persons: int, pictures: int, dims: int = 16) -> Gallery:
    """Persons around centres, in pictures called as in Market-1501."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.standard_normal((persons, dims)), pictures, axis=0)
    some = (centres + 0.3 * rng.standard_normal(centres.shape)).astype(np.float32)
    names = tuple(f"{n // pictures:04d}_{n % pictures}.jpg" for n in range(len(some)))
    return Gallery(Path("people"), names, some / np.linalg.norm(some, axis=1)[:, None], MODEL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`people.npz` of 10,000 pictures and its index."""
    place = tmp_path_factory.mktemp("index")
    people(2_000, 5).save(place / "people.npz")
    assert index_gallery(place / "people.npz", place / "people.index") == 10_000
    return place


def test_it_finds_what_exact_search_finds(place: Path) -> None:
    exact, indexed = load_gallery(place / "people.npz"), load_gallery(place / "people.index")
    assert type(exact) is Gallery and isinstance(indexed, IndexedGallery)
    assert (indexed.files, indexed.folder, indexed.model) == (
        exact.files,
        exact.folder,
        exact.model,
    )
    queries = exact.embeddings[::100]
    expected, found = exact.search(queries, 10), indexed.search(queries, 10)
    np.testing.assert_array_equal(found[0][:, 0], np.arange(0, 10_000, 100))
    same = [len(np.intersect1d(a, b)) for a, b in zip(expected[0], found[0], strict=True)]
    assert np.mean(same) > 9.8
    np.testing.assert_allclose(found[1][:, 0], expected[1][:, 0], atol=1e-5)
    assert (np.diff(found[1]) <= 0).all()
    # More than lie in the lists that were looked at: what there is, then nothing.
    assert indexed.search(queries, 10_000)[0].shape == (100, 10_000)


def test_it_is_far_smaller_than_the_embeddings() -> None:
    codes = gallery_index.build_index(people(2_000, 5, dims=512).embeddings)
    size = len(gallery_index.faiss_library().serialize_index(codes))
    assert size < 10_000 * 512 * 4 / 10


def test_what_does_not_fit_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs 10,000 pictures or more, and there are 20"):
        people(4, 5).save(tmp_path / "few.npz")
        index_gallery(tmp_path / "few.npz", tmp_path / "few.index")
    assert not (tmp_path / "few.index").exists()
    with pytest.raises(UserError, match=r"no gallery or index at .*nowhere"):
        load_gallery(tmp_path / "nowhere")
    with np.load(place / "people.index") as content:
        parts = dict(content)
    parts["index"][-1] ^= 1
    np.savez(tmp_path / "changed.npz", **parts)
    with pytest.raises(
        UserError, match=r"changed.npz is no index: .*fit.*; `lookalike index` makes"
    ):
        load_gallery(tmp_path / "changed.npz")
    parts["index"] = np.frombuffer(b"nothing that faiss knows", np.uint8)
    about = json.loads(str(parts["about"])) | {"sha256": sha256(parts["index"]).hexdigest()}
    np.savez(tmp_path / "changed.npz", **{**parts, "about": json.dumps(about)})
    with pytest.raises(
        UserError, match=r"changed.npz is no index: .*; `lookalike index` makes one"
    ):
        load_gallery(tmp_path / "changed.npz")
    (tmp_path / "short.npz").write_bytes((place / "people.index").read_bytes()[:-100])
    with pytest.raises(
        UserError, match=r"no gallery or index: it is damaged .*` or `lookalike index"
    ):
        load_gallery(tmp_path / "short.npz")


def test_what_memory_does_not_hold_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "load", full)
    with pytest.raises(UserError, match="does not fit into memory, or is damaged"):
        load_gallery(place / "people.index")


def test_another_gallery_than_it_was_made_of_is_refused(tmp_path: Path) -> None:
    path, index = tmp_path / "people.npz", tmp_path / "people.index"
    people(2_000, 5).save(path)
    index_gallery(path, index)
    people(5_000, 2).save(path)
    with pytest.raises(
        UserError, match=r"of another gallery .* make it anew with `lookalike index`"
    ):
        load_gallery(index)
    path.unlink()
    with pytest.raises(UserError, match=r"no gallery at .*people\.npz"):
        load_gallery(index)


def test_without_faiss_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match="faiss, which is not installed"):
        index_gallery(tmp_path / "people.npz", tmp_path / "people.index")


def test_the_benchmark_prints_recall_beside_exact_search(tmp_path: Path) -> None:
    people(60, 5).save(tmp_path / "people.npz")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "people.npz"), "--quick"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    title, _, table = done.stdout.strip().split("\n\n")
    assert title == "20,000 of 16 dimensions, 100 queries"
    exact, *rows = [re.split(r" *\| *", line)[1:-1] for line in table.splitlines()[2:]]
    assert exact[:3] == ["exact", "1.000", "1.000"]
    assert len(rows) == 6
    found = {name: float(recall) for name, _, recall, *_ in rows}
    assert found["32 lists, 100 ranked"] > 0.9
    assert found["128 lists, 100 ranked"] >= found["8 lists, 100 ranked"]
