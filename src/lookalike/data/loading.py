"""From manifest rows to pixels: decode once, map uint8 from a file, augment on tensors."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL
import torch
from PIL import Image

from lookalike.data.decoding import REVISION, decode
from lookalike.errors import UserError
from lookalike.files import PARTIAL, replacing
from lookalike.progress import Progress, say

Images = npt.NDArray[np.uint8]  # [N, H, W, 3], RGB
CACHE = Path(".lookalike/cache/crops")  # below the root; may be deleted at any time
CACHED_FROM = 256  # images; fewer are decoded in a moment
UNUSED_DAYS = 30  # after which a file of the cache is deleted
KERNEL = f"Pillow {PIL.__version__} bicubic, decoder {REVISION}"  # other pixels, other files


def resize(image: Image.Image, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize with Pillow's antialiased bicubic kernel, the only kernel used in this project.

    The kernel changes FID and rank-1 without anyone noticing (Parmar et al. 2022), hence one place.
    Returns uint8 [height, width, 3].
    """
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def resize_batch(images: Images, height: int, width: int) -> Images:
    """`resize` for uint8 [N, H, W, 3]."""
    if images.shape[1:3] == (height, width) or len(images) == 0:
        return images.reshape(-1, height, width, 3)
    return np.stack([resize(Image.fromarray(image), height, width) for image in images])


def read_bytes(frame: pd.DataFrame, root: Path) -> Iterator[bytes]:
    """The encoded bytes of each row's image, in order; `root` is the repository root.

    Raises:
        UserError: a file, archive or member is missing, or has not the `sha256` of its row.
    """
    opened: dict[str, zipfile.ZipFile] = {}
    digests = frame["sha256"] if "sha256" in frame else [""] * len(frame)
    try:
        for archive, member, digest in zip(frame["archive"], frame["member"], digests, strict=True):
            place = f"{archive}:{member}" if archive else member
            try:
                if not archive:
                    data = (root / member).read_bytes()
                else:
                    if archive not in opened:
                        opened[archive] = zipfile.ZipFile(root / archive)
                    data = opened[archive].read(member)
            except (OSError, KeyError, zipfile.BadZipFile) as error:
                raise UserError(f"cannot read {place}: {error}; run `dvc repro`") from error
            if digest and hashlib.sha256(data).hexdigest() != digest:
                raise UserError(
                    f"{place} is not the image that the manifest names; run `dvc repro`"
                )
            yield data
    finally:
        for file in opened.values():
            file.close()


def load_images(
    frame: pd.DataFrame, root: Path, height: int, width: int, *, description: str = "decode"
) -> Images:
    """Every row's crop, decoded and resized: uint8 [N, height, width, 3] in the manifest's order.

    What is large enough, and has digests, is decoded once for all processes, stages and reruns: it
    is a read-only map of a file in `CACHE`, whose pages the processes of a machine share. Of
    several that want the same at once, one decodes and the others wait. A damaged file is made
    anew, and one that nobody has opened for a month is deleted.

    Raises:
        UserError: an image is missing, or is not the one that the manifest names.
    """
    digests = [str(digest) for digest in frame.get("sha256", ())]
    shape = (len(frame), height, width, 3)
    if len(frame) < CACHED_FROM or not all(digests) or not digests:
        images = np.empty(shape, dtype=np.uint8)
        # Every process decodes for itself here; one bar is enough.
        _decode(frame, root, images, description, visible=os.environ.get("RANK", "0") == "0")
        return images
    key = hashlib.sha256("\n".join([KERNEL, str(shape), *digests]).encode()).hexdigest()
    path = root / CACHE / f"{key[:32]}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go when the process dies
            cached = _open_crops(path, shape)
            if cached is None:
                _sweep(path.parent)
                with replacing(path) as partial:
                    images = _new_crops(partial, shape)
                    _decode(frame, root, images, description)
                    _flush(partial)
                cached = _open_crops(path, shape)
    except OSError as error:
        say(f"{path} cannot be written ({error}); the crops are kept in memory")
        cached = np.empty(shape, dtype=np.uint8)
        _decode(frame, root, cached, description)
    assert cached is not None, "just written"
    return cached


def _decode(
    frame: pd.DataFrame,
    root: Path,
    images: Images,
    description: str,
    *,
    visible: bool = True,
) -> None:
    """Fill `images`, in threads."""

    def one(index: int, data: bytes, name: str) -> None:
        images[index] = resize(decode(data, name), *images.shape[1:3])

    with ThreadPoolExecutor() as pool, Progress(description, len(frame), visible=visible) as bar:
        jobs = (
            pool.submit(one, index, data, str(name))
            for index, (data, name) in enumerate(
                zip(read_bytes(frame, root), frame["member"], strict=True)
            )
        )
        for job in jobs if len(frame) < 64 else _windowed(jobs, 256):
            job.result()
            bar.advance()


def _open_crops(path: Path, shape: tuple[int, ...]) -> Images | None:
    """A read-only map of what was cached; None where there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        images: Images = np.lib.format.open_memmap(path, mode="r").view(np.ndarray)
        if images.shape != shape or images.dtype != np.uint8:
            raise ValueError(f"it holds {images.dtype} {images.shape}")
    except ValueError as error:  # cut short, or no array
        say(f"{path} is damaged and will be made anew ({error})")
        return None
    os.utime(path)  # it is in use
    return images


def _new_crops(path: Path, shape: tuple[int, ...]) -> Images:
    """A writable map of a new file; its place on the disk is taken at once.

    Otherwise a full disk would kill the process at some write to memory instead of saying so here.
    """
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return images.view(np.ndarray)


def _flush(path: Path) -> None:
    """Bring a file to the disk: a name must not outlive a power cut without the pixels."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _sweep(folder: Path) -> None:
    """Delete what was not opened for long, and what a killed process left."""
    oldest = time.time() - UNUSED_DAYS * 24 * 3600
    for path in folder.iterdir():
        unfinished = path.name.startswith(PARTIAL)
        if unfinished or (path.suffix == ".npy" and path.stat().st_mtime < oldest):
            path.unlink()


def _windowed(jobs: Iterator, size: int) -> Iterator:  # type: ignore[type-arg]
    """Keep at most `size` jobs in flight, so that encoded bytes do not pile up in memory."""
    window = []
    for job in jobs:
        window.append(job)
        if len(window) >= size:
            yield window.pop(0)
    yield from window


def to_tensor(images: Images, device: torch.device | str = "cpu") -> torch.Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in [-1, 1]."""
    images = np.ascontiguousarray(images)
    if not images.flags.writeable:  # a slice of the cache; torch would warn
        images = images.copy()
    return scale_pixels(torch.from_numpy(images).to(device))


def scale_pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in [-1, 1], where they are."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0).contiguous()


def to_uint8(images: torch.Tensor) -> Images:
    """float [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3], clamped and rounded."""
    scaled = images.detach().float().mul(127.5).add(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encode uint8 [H, W, 3] as baseline JPEG without chroma subsampling; the same bytes always."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()
