"""A folder of pictures as embeddings: made once, saved with its model's digest, searched often."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from lookalike.data.decoding import decode
from lookalike.disk import pictures_in
from lookalike.errors import UserError
from lookalike.files import replacing
from lookalike.progress import Progress
from lookalike.reid.npz_files import reading

if TYPE_CHECKING:
    from lookalike.data.loading import Images
    from lookalike.reid.embedder import Embedder

FORMAT = "lookalike-gallery 1"
AT_ONCE = 128  # pictures decoded at once


@dataclass(frozen=True)
class Gallery:
    """Pictures that a model has seen.

    Attributes:
        folder: where the pictures are.
        files: N paths below it, sorted, with forward slashes.
        embeddings: float32 [N, D] of unit length.
        model: `ChosenModel.description`, which embeddings must share to be compared.
    """

    folder: Path
    files: tuple[str, ...]
    embeddings: npt.NDArray[np.float32]
    model: Mapping[str, str]

    def save(self, path: Path) -> None:
        """Write an npz file: `embeddings`, `files` and `about`, text in JSON with the digests.

        The file is complete or not there. It opens with `numpy.load` and holds no pickle.
        """
        files = np.array(self.files, dtype=np.str_)
        about = {
            "format": FORMAT,
            "folder": str(self.folder.resolve()),
            **self.model,
            "sha256": _digest(self.embeddings, self.files),
        }
        with replacing(path) as partial, partial.open("wb") as stream:
            np.savez(stream, embeddings=self.embeddings, files=files, about=json.dumps(about))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Of the embeddings, memory holds only what is looked at.

        Raises:
            UserError: missing, damaged, changed, or something else.
        """
        with reading(path, "gallery", "lookalike embed"):
            about, embeddings, files = read_parts(path)
            if about.pop("sha256") != _digest(embeddings, files):
                raise ValueError("its digest does not fit its content")
            folder = Path(about.pop("folder"))
        return cls(folder, files, embeddings, about)

    def check_model(self, model: Mapping[str, str], path: Path) -> None:
        """Refuse to compare embeddings of different models.

        Raises:
            UserError: it was made with other weights, or another flip averaging.
        """
        for key in ("weights_sha256", "flip"):
            if self.model.get(key) != model[key]:
                raise UserError(
                    f"{path} was made with {self.model.get('model')}, not with {model['model']} "
                    f"({key} differs); embed the folder anew, or give --model that one"
                )

    def search(
        self, queries: npt.NDArray[np.float32], k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The most similar pictures of each query.

        Args:
            queries: float32 [Q, D].
            k: how many; fewer where the gallery is smaller.

        Returns:
            Indices into `files` and cosine similarities, both [Q, k], best first.
        """
        from lookalike.reid.ranking import top_matches

        k = min(k, len(self.files))
        # Nobody is known: one label for all queries and another for the gallery leave nothing out.
        asked, held = ["query"] * len(queries), ["gallery"] * len(self.files)
        top = top_matches(queries, self.embeddings, asked, held, asked, held, k)
        return top.indices, top.similarities


def embed_folder(
    folder: Path, embedder: Embedder, model: Mapping[str, str]
) -> tuple[Gallery, dict[str, str]]:
    """Embed every picture of a folder and the folders in it.

    Args:
        folder: pictures are its JPEG, PNG, BMP and WebP files, by suffix.
        embedder: the model.
        model: `ChosenModel.description`.

    Returns:
        The gallery, and the pictures that were left out with the reason.

    Raises:
        UserError: no such folder, no readable picture in it, or embeddings that are not finite.
    """
    return embed_pictures(folder, pictures_in(folder), embedder, model)


def embed_pictures(
    folder: Path, names: Sequence[str], embedder: Embedder, model: Mapping[str, str]
) -> tuple[Gallery, dict[str, str]]:
    """Embed files of a folder by name; otherwise as `embed_folder`."""
    from lookalike.reid.embedder import SHOW_PROGRESS_FROM

    visible = len(names) >= SHOW_PROGRESS_FROM
    with Progress(f"embed {folder}", len(names), visible=visible) as progress:
        good, bad, embeddings = embed_named(folder, names, embedder, model, progress)
    if not good:
        raise none_readable(folder, bad)
    return Gallery(folder, tuple(good), embeddings, dict(model)), bad


def embed_named(
    folder: Path,
    names: Sequence[str],
    embedder: Embedder,
    model: Mapping[str, str],
    progress: Progress,
) -> tuple[list[str], dict[str, str], npt.NDArray[np.float32]]:
    """The readable ones of some pictures, why the others are not, and embeddings [N, D].

    Raises:
        UserError: embeddings that are not finite.
    """
    good: list[str] = []
    bad: dict[str, str] = {}
    parts = [np.empty((0, embedder.dim), np.float32)]
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        images, refused = _read(folder, some, embedder)
        parts.append(embedder.embed(images))
        good += [name for name in some if name not in refused]
        bad |= refused
        progress.advance(len(some))
    embeddings = np.concatenate(parts)
    if not np.isfinite(embeddings).all():
        raise UserError(
            f"{model['model']} gives embeddings with NaN or infinity: it has diverged; "
            "give --model another one"
        )
    return good, bad, embeddings


def none_readable(folder: Path, bad: Mapping[str, str]) -> UserError:
    """What to say of a folder without a picture that can be read."""
    first = f": {next(iter(bad))}, {next(iter(bad.values()))}" if bad else ""
    return UserError(f"{folder} holds no readable picture; {len(bad)} left out{first}")


def _read(folder: Path, names: Sequence[str], embedder: Embedder) -> tuple[Images, dict[str, str]]:
    """The readable pictures in the network's size, uint8 [N, H, W, 3], and why others are not."""
    from lookalike.data.loading import resize

    height, width = embedder.model.height, embedder.model.width

    def one(name: str) -> Images | str:
        try:
            return resize(decode((folder / name).read_bytes(), name), height, width)
        except (UserError, OSError) as error:
            return " ".join(str(error).removeprefix(f"{name}: ").split())

    with ThreadPoolExecutor() as pool:
        found = dict(zip(names, pool.map(one, names), strict=True))
    images = [image for image in found.values() if not isinstance(image, str)]
    bad = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    return np.array(images, dtype=np.uint8).reshape(-1, height, width, 3), bad


def read_parts(
    path: Path,
) -> tuple[dict[str, str], npt.NDArray[np.float32], tuple[str, ...]]:
    """What a gallery says about itself, its embeddings as a map of the file, and its files.

    Nothing is compared with the digest, which takes a second for each gigabyte or two.

    Raises:
        ValueError, KeyError, OSError, ...: it is no gallery; see `npz_files.reading`.
    """
    with np.load(path, allow_pickle=False) as content:
        about = json.loads(str(content["about"]))
        if about.pop("format") != FORMAT:
            raise ValueError("another format")
        files = tuple(str(name) for name in content["files"])
    embeddings = _mapped(path, "embeddings.npy")
    _check(embeddings, files)
    return about, embeddings, files


def _mapped(path: Path, name: str) -> npt.NDArray[np.float32]:
    """An array of an npz file as a read-only map of that file, for what is larger than memory."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name)
        with archive.open(member) as stream:
            stored = member.compress_type == zipfile.ZIP_STORED
            if np.lib.format.read_magic(stream) != (1, 0) or not stored:
                raise ValueError(f"{name} is not as `lookalike embed` writes it")
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
            within = stream.tell()
    if by_columns or dtype != np.float32 or within + 4 * math.prod(shape) != member.file_size:
        raise ValueError(f"{name} is not as `lookalike embed` writes it")
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)  # the lengths of what precedes a member's bytes
        start = member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))) + within
    return np.memmap(path, np.float32, "r", start, shape).view(np.ndarray)


def _check(embeddings: npt.NDArray[np.float32], files: Sequence[str]) -> None:
    if embeddings.dtype != np.float32 or embeddings.ndim != 2 or len(embeddings) != len(files):
        raise ValueError("embeddings and files do not fit together")


def _digest(embeddings: npt.NDArray[np.float32], files: Sequence[str]) -> str:
    _check(embeddings, files)
    digest = hashlib.sha256(np.ascontiguousarray(embeddings).reshape(-1).data)
    digest.update(json.dumps([embeddings.shape, list(files)]).encode())
    return digest.hexdigest()
