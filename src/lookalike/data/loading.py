"""From manifest rows to pixels: decode once, keep uint8 in memory, augment on tensors."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image, UnidentifiedImageError

from lookalike.errors import UserError
from lookalike.progress import Progress

Images = npt.NDArray[np.uint8]  # [N, H, W, 3], RGB
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # Pillow's rarer decoders fail in more ways
MAX_PIXELS = 64 * 1024 * 1024  # a crop is small; more is a decompression bomb


def decode(data: bytes, name: str = "image", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an encoded image to RGB.

    Raises:
        UserError: not an image, truncated, or of more than `max_pixels` pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > max_pixels:
            raise UserError(f"{name}: {image.width}x{image.height} pixels are too many for a crop")
        return image.convert("RGB")
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        # Pillow would say which object in memory it could not identify.
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{name}: not a readable image ({reason})") from error


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
        UserError: a file, archive or member is missing.
    """
    opened: dict[str, zipfile.ZipFile] = {}
    try:
        for archive, member in zip(frame["archive"], frame["member"], strict=True):
            try:
                if archive:
                    if archive not in opened:
                        opened[archive] = zipfile.ZipFile(root / archive)
                    yield opened[archive].read(member)
                else:
                    yield (root / member).read_bytes()
            except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
                place = f"{archive}:{member}" if archive else member
                raise UserError(f"cannot read {place}: {error}; run `dvc repro`") from error
    finally:
        for file in opened.values():
            file.close()


def load_images(
    frame: pd.DataFrame, root: Path, height: int, width: int, *, description: str = "decode"
) -> Images:
    """Decode and resize every row once: uint8 [N, height, width, 3] in the manifest's order.

    Market-1501's 12,936 training crops are 1.3 GB at 256x128.
    """
    images = np.empty((len(frame), height, width, 3), dtype=np.uint8)

    def one(index: int, data: bytes, name: str) -> None:
        images[index] = resize(decode(data, name), height, width)

    with ThreadPoolExecutor() as pool, Progress(description, len(frame)) as progress:
        jobs = (
            pool.submit(one, index, data, str(name))
            for index, (data, name) in enumerate(
                zip(read_bytes(frame, root), frame["member"], strict=True)
            )
        )
        for job in jobs if len(frame) < 64 else _windowed(jobs, 256):
            job.result()
            progress.advance()
    return images


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
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0).contiguous()


def to_uint8(images: torch.Tensor) -> Images:
    """float [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3], clamped and rounded."""
    scaled = images.detach().float().mul(127.5).add(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encode uint8 [H, W, 3] as baseline JPEG without chroma subsampling; the same bytes always."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()
