"""An approximate index of a large gallery, by faiss: inverted lists of product codes.

The embeddings are brought to `DIMS` principal components and sorted into lists around centres, by
k-means. Of what lies between an embedding and its centre, a code of `CODE` bytes is kept (Jégou et
al. 2011). A search looks into the lists whose centres are nearest to the query. It compares codes,
and ranks the best of those pictures by exact cosines, which it reads from the gallery itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lookalike.errors import UserError
from lookalike.files import replacing
from lookalike.progress import Progress
from lookalike.reid.gallery import Gallery, read_parts
from lookalike.reid.npz_files import reading
from lookalike.spread import spread

INDEX_FORMAT = "lookalike-index 1"
FEWEST = 10_000  # pictures; fewer are searched exactly in no time
DIMS = 128  # components that are indexed; the rest counts where matches are ranked
CODE = 32  # bytes per picture, beside the 8 of its number
SAMPLE = 64  # pictures per list that the centres are found with
LEAST_SAMPLE = 16_384  # enough for the 256 values that a byte of the code has
RUN = 64  # pictures of the sample that lie one after the other
ROUNDS = 10  # of k-means
PROBES = 32  # lists that a search looks into
RANKED = 100  # matches by codes that are ranked by exact cosines
AT_ONCE = 65_536  # pictures coded at once

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


class Rows(Protocol):
    """Embeddings of unit length, float32 [N, D], wherever they are; say a map of a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N and D."""

    def __getitem__(self, rows: slice | Indices, /) -> Floats:
        """Some of them."""


def build_index(rows: Rows) -> Any:
    """Index embeddings: sqrt(N) lists. Memory holds a sample and the codes, not the embeddings.

    Raises:
        UserError: fewer than `FEWEST`, or faiss is not installed.
    """
    library, (count, dims) = faiss_library(), rows.shape
    if count < FEWEST:
        raise UserError(
            f"an index needs {FEWEST:,} pictures or more, and there are {count:,}; "
            "search the gallery itself, which is exact"
        )
    lists = round(math.sqrt(count))
    kept = min(dims, DIMS)
    reduced = f"PCAR{kept}," if kept < dims else ""
    code = next(n for n in range(min(kept, CODE), 0, -1) if kept % n == 0)
    index = library.index_factory(
        dims, f"{reduced}IVF{lists},PQ{code}np", library.METRIC_INNER_PRODUCT
    )
    library.downcast_index(library.extract_index_ivf(index)).pq.cp.niter = ROUNDS
    starts = spread(count // RUN, max(LEAST_SAMPLE, SAMPLE * lists) // RUN) * RUN
    index.train(np.concatenate([rows[start : start + RUN] for start in starts.tolist()]))
    with Progress("index", count) as progress:
        for start in range(0, count, AT_ONCE):
            some = rows[start : start + AT_ONCE]
            index.add(np.ascontiguousarray(some))
            progress.advance(len(some))
    return index


def candidates(index: Any, queries: Floats, count: int, probes: int = PROBES) -> Indices:
    """The best pictures by their codes, int64 [Q, count], best first; -1 where there are fewer."""
    library = faiss_library()
    library.extract_index_ivf(index).nprobe = probes
    found: Indices = index.search(np.ascontiguousarray(queries), count)[1]
    return found


def ranked(found: Indices, rows: Rows, queries: Floats, k: int) -> tuple[Indices, Floats]:
    """The best `k` of each query's candidates by exact cosine, and these; -1 and NaN for none."""
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    cosines = np.full((len(queries), k), np.nan, dtype=np.float32)
    for number, query in enumerate(queries):
        some = np.sort(found[number][found[number] >= 0])  # equal ones keep the gallery's order
        values = rows[some] @ query
        order = np.argsort(-values, kind="stable")[:k]
        indices[number, : len(order)] = some[order]
        cosines[number, : len(order)] = values[order]
    return indices, cosines


@dataclass(frozen=True)
class IndexedGallery(Gallery):
    """A gallery that an index searches; `save` writes its pictures, `save_index` the index.

    Attributes:
        index: of `build_index`, over `embeddings`.
    """

    index: Any

    def search(self, queries: Floats, k: int) -> tuple[Indices, Floats]:
        """See Gallery. Now and then another picture is found than the best one."""
        k = min(k, len(self.files))
        found = candidates(self.index, queries, max(RANKED, k))
        return ranked(found, self.embeddings, queries, k)


def index_gallery(path: Path, output: Path) -> int:
    """Index what `lookalike embed` wrote, into a file that names it; returns how many pictures.

    Raises:
        UserError: no gallery, too few pictures in it, or faiss is not installed.
    """
    faiss_library()  # rather than after minutes
    gallery = Gallery.load(path)
    content = faiss_library().serialize_index(build_index(gallery.embeddings))
    about = {
        "format": INDEX_FORMAT,
        "gallery": str(path.resolve()),
        "gallery_sha256": _sha256_in(path),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with replacing(output) as partial, partial.open("wb") as stream:
        np.savez(stream, index=content, about=json.dumps(about))
    return len(gallery.files)


def load_gallery(path: Path) -> Gallery:
    """A gallery, or an index with the gallery that it is of.

    With an index the gallery's embeddings are not compared with their digest: that reads all.

    Raises:
        UserError: missing, damaged, changed, something else, or faiss is not installed.
    """
    made_by = ("lookalike embed", "lookalike index")
    with reading(path, "gallery or index", *made_by), np.load(path, allow_pickle=False) as content:
        indexed = "index" in content.files
    if not indexed:
        return Gallery.load(path)
    library = faiss_library()
    with reading(path, "index", "lookalike index"), np.load(path, allow_pickle=False) as content:
        about = json.loads(str(content["about"]))
        if about["format"] != INDEX_FORMAT:
            raise ValueError("another format")
        index = content["index"]
        if hashlib.sha256(index).hexdigest() != about["sha256"]:
            raise ValueError("its digest does not fit its content")
        gallery, sha256 = Path(about["gallery"]), about["gallery_sha256"]
        loaded = library.deserialize_index(index)
    with reading(gallery, "gallery", "lookalike embed"):
        told, embeddings, files = read_parts(gallery)
        now, folder = told.pop("sha256"), Path(told.pop("folder"))
    if now != sha256:
        raise UserError(
            f"{path} is of another gallery than {gallery} is now; make it anew with "
            "`lookalike index`"
        )
    return IndexedGallery(folder, files, embeddings, told, loaded)


def _sha256_in(path: Path) -> str:
    """The digest of its content that a gallery holds."""
    with np.load(path, allow_pickle=False) as content:
        return str(json.loads(str(content["about"]))["sha256"])


def faiss_library() -> Any:
    """The library, or a line that says what to install.

    Raises:
        UserError: it is missing.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "an index needs faiss, which is not installed; `pip install faiss-cpu`, or search "
            "the gallery itself"
        ) from error
    return faiss
