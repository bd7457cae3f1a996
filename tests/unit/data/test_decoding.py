"""Every kind of picture that people have, against what a viewer shows.

The expected pixels are computed here from the stored ones, by the formats' own definitions.
"""

from __future__ import annotations

import io
import re
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

import lookalike
from lookalike.data.decoding import MAX_SCANS, decode
from lookalike.data.loading import encode_jpeg
from lookalike.errors import UserError

Pixels = npt.NDArray[Any]
DRAW = np.random.default_rng(0)
RGB = DRAW.integers(0, 256, (6, 4, 3), dtype=np.uint8)
GREY = RGB[..., 0]
WIDE = DRAW.integers(0, 2**16, (6, 4, 4), dtype=np.uint16)  # of 16 bits
ALPHA = DRAW.integers(0, 256, (6, 4), dtype=np.uint8)
BLOCKS = np.kron(RGB, np.ones((16, 16, 1), dtype=np.uint8))  # which JPEG keeps, but for rounding


def stored(image: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, kind, **options)
    return stream.getvalue()


def png16(pixels: Pixels) -> bytes:
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]  # OpenCV's order
    return cv2.imencode(".png", pixels)[1].tobytes()


def on_white(colours: Pixels, alpha: Pixels) -> Pixels:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


def grey_to_rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=2)


def with_key(data: bytes, key: bytes) -> bytes:
    """A PNG with a chunk that makes one colour transparent, after its header."""
    chunk = b"tRNS" + key
    chunk = struct.pack(">I", len(key)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + chunk + data[33:]


def frames(kind: str) -> bytes:
    first = BLOCKS if kind == "MPO" else RGB
    options: dict[str, Any] = {"append_images": [Image.fromarray(255 - first)], "duration": 90}
    options |= {"MPO": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    return stored(first, kind, save_all=True, **options)


PALETTE = Image.fromarray(RGB).quantize(8)
COLOURS = np.asarray(PALETTE.convert("RGB"))
INDICES = np.asarray(PALETTE)
CMYK = np.kron(DRAW.integers(0, 256, (6, 4, 4), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
INKS = CMYK.astype(float) / 255
ONE_BIT = GREY > 127

# name -> the file, what a viewer shows, and how far JPEG may be from it.
KINDS: dict[str, tuple[bytes, Pixels, int]] = {
    "RGB": (stored(RGB), RGB, 0),
    "BMP": (stored(RGB, "BMP"), RGB, 0),
    "WebP": (stored(RGB, "WEBP", lossless=True), RGB, 0),
    "grey": (stored(GREY), grey_to_rgb(GREY), 0),
    "grey JPEG": (stored(BLOCKS[..., 0], "JPEG", quality=95), grey_to_rgb(BLOCKS[..., 0]), 4),
    "1 bit": (stored(ONE_BIT), grey_to_rgb(ONE_BIT * 255), 0),
    "16-bit grey": (png16(WIDE[..., 0]), grey_to_rgb(WIDE[..., 0] / 257), 1),
    "16-bit RGB": (png16(WIDE[..., :3]), WIDE[..., :3] / 257, 1),
    "16-bit RGBA": (png16(WIDE), on_white(WIDE[..., :3] / 257, WIDE[..., 3] / 257), 2),
    "16-bit grey with a transparent one": (
        with_key(png16(WIDE[..., 0]), struct.pack(">H", WIDE[2, 1, 0])),
        grey_to_rgb(np.where(WIDE[..., 0] == WIDE[2, 1, 0], 65535, WIDE[..., 0]) / 257),
        1,
    ),
    "alpha": (stored(np.dstack([RGB, ALPHA])), on_white(RGB, ALPHA), 1),
    "alpha WebP": (
        stored(np.dstack([RGB, ALPHA]), "WEBP", lossless=True, exact=True),
        on_white(RGB, ALPHA),
        1,
    ),
    "grey with alpha": (
        stored(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])),
        on_white(grey_to_rgb(GREY), ALPHA),
        1,
    ),
    "a transparent colour": (
        stored(RGB, transparency=tuple(int(v) for v in RGB[2, 1])),
        on_white(RGB, np.where((RGB[2, 1] == RGB).all(axis=2), 0, 255)),
        0,
    ),
    "a transparent grey": (
        stored(GREY, transparency=int(GREY[2, 1])),
        grey_to_rgb(np.where(GREY[2, 1] == GREY, 255, GREY)),
        0,
    ),
    "palette": (stored(PALETTE), COLOURS, 0),
    "palette BMP": (stored(PALETTE, "BMP"), COLOURS, 0),
    "palette with a transparent colour": (
        stored(PALETTE, transparency=int(INDICES[2, 1])),
        on_white(COLOURS, np.where(INDICES[2, 1] == INDICES, 0, 255)),
        0,
    ),
    "palette with alpha": (
        stored(PALETTE, transparency=bytes(range(0, 240, 30))),
        on_white(COLOURS, INDICES * 30),
        1,
    ),
    "CMYK, inverted as Adobe does": (
        stored(Image.fromarray(CMYK, "CMYK"), "JPEG", quality=95),
        255 * (1 - INKS[..., :3]) * (1 - INKS[..., 3:]),
        6,
    ),
    "animated WebP": (frames("WEBP"), RGB, 0),
    "animated PNG": (frames("PNG"), RGB, 0),
    "several JPEGs in one, as phones do": (
        stored(
            BLOCKS,
            "MPO",
            save_all=True,
            append_images=[Image.fromarray(255 - BLOCKS)],
            quality=95,
            subsampling=0,
        ),
        BLOCKS,
        8,
    ),
    "progressive": (stored(BLOCKS, "JPEG", progressive=True, quality=95, subsampling=0), BLOCKS, 8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_read_as_it_is_shown(kind: str) -> None:
    data, shown, tolerance = KINDS[kind]
    image = decode(data)
    assert image.mode == "RGB"
    found = np.asarray(image).astype(float)
    assert found.shape == shown.shape
    assert np.abs(found - shown).max() <= tolerance


TURNED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


def orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


@pytest.mark.parametrize("value", TURNED)
def test_pictures_stand_as_exif_says(value: int) -> None:
    exif = orientation(value)
    for kind in ("PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        found = np.asarray(decode(stored(RGB, kind, exif=exif, **options)))
        np.testing.assert_array_equal(found, TURNED[value](RGB))
    jpeg = stored(BLOCKS, "JPEG", quality=95, subsampling=0, exif=exif)
    shown = TURNED[value](BLOCKS)
    assert np.abs(np.asarray(decode(jpeg)).astype(int) - shown).max() <= 8
    grey16 = np.asarray(decode(with_exif(png16(WIDE[..., 0]), exif)))
    assert np.abs(grey16 - TURNED[value](grey_to_rgb(WIDE[..., 0] / 257))).max() <= 1


def with_exif(png: bytes, exif: bytes) -> bytes:
    chunk = b"eXIf" + exif.removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:-12] + chunk + png[-12:]  # after the pixels, where PNG allows it too


@pytest.mark.parametrize(
    "exif", [orientation(0), orientation(9), b"Exif\0\0", b"Exif\0\0MM\0*junk"]
)
@pytest.mark.filterwarnings("ignore")
def test_an_orientation_that_is_none_is_ignored(exif: bytes) -> None:
    np.testing.assert_array_equal(np.asarray(decode(stored(RGB, exif=exif))), RGB)


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """An ICC profile, version 2, of hand-made tags."""
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    head = bytearray(128)
    head[:4] = struct.pack(">I", start + len(body))
    head[8:12], head[12:16], head[16:20], head[20:24] = b"\x02\x20\0\0", b"prtr", space, pcs
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)  # D50
    return bytes(head) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


WHITE = xyz(0.9642, 1.0, 0.8249)


def test_colours_are_converted_by_their_profile() -> None:
    """Red and blue change places: a profile that a viewer must not ignore."""
    swapped = srgb()
    swapped = swapped.replace(b"rXYZ", b"xxxx", 1).replace(b"bXYZ", b"rXYZ", 1)
    swapped = swapped.replace(b"xxxx", b"bXYZ", 1)
    for image in (Image.fromarray(RGB), PALETTE, Image.fromarray(np.dstack([RGB, ALPHA]))):
        plain = np.asarray(decode(stored(image))).astype(int)
        shown = np.asarray(decode(stored(image, icc_profile=swapped)))
        assert np.abs(shown[..., ::-1] - plain).max() <= 2


def test_grey_is_converted_by_its_profile() -> None:
    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(1.6 * 256))
    darker = profile(b"GRAY", {b"wtpt": WHITE, b"kTRC": gamma})
    x = (GREY / 255) ** 1.6
    shown = 255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    assert np.abs(shown - GREY).max() > 20
    found = np.asarray(decode(stored(GREY, icc_profile=darker)))
    assert np.abs(found - grey_to_rgb(shown)).max() <= 2


def test_inks_are_converted_by_their_profile() -> None:
    """A press whose black ink prints nothing: only the profile knows."""
    corners = [(255 * (1 - c), 128, 128) for c in (0, 1) for _ in range(8)]  # lightness by cyan
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = b"mft1\0\0\0\0\4\3\2\0" + matrix + identity * 4
    table += bytes(int(v) for corner in corners for v in corner) + identity * 3
    press = profile(b"CMYK", {b"wtpt": WHITE, b"A2B0": table}, b"Lab ")
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 255))
    assert np.asarray(decode(stored(white, "JPEG"))).max() <= 1, "black, without the profile"
    assert np.asarray(decode(stored(white, "JPEG", icc_profile=press))).min() >= 250


@pytest.mark.parametrize("kind", ["sRGB", "damaged", "of another kind of picture"])
def test_profiles_that_say_nothing_change_no_pixel(kind: str) -> None:
    content = {"sRGB": srgb(), "damaged": srgb()[:200], "of another kind of picture": srgb()}[kind]
    image = Image.fromarray(GREY if kind.startswith("of") else RGB)
    plain = np.asarray(decode(stored(image)))
    np.testing.assert_array_equal(np.asarray(decode(stored(image, icc_profile=content))), plain)


def test_a_plain_jpeg_has_the_pixels_that_pillow_gives_it() -> None:
    """Which is what was trained on before pictures of other kinds were read with care."""
    noise = np.random.default_rng(1).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    for data in (encode_jpeg(noise), stored(noise, "JPEG", subsampling=2, icc_profile=srgb())):
        plain = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(np.asarray(decode(data)), plain)


def test_truncated_pictures_are_refused() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "MPO"):
        data = stored(noise, kind)
        for length in (len(data) // 2, len(data) * 9 // 10):
            with pytest.raises(UserError, match=r"^a\.x: not a readable image"):
                decode(data[:length], "a.x")


def test_endless_scans_are_refused_at_once() -> None:
    """Each scan costs a pass over all pixels; 154,000 of them took minutes."""
    whole = stored(Image.new("RGB", (3000, 3000)), "JPEG", progressive=True)
    last = whole[whole.rfind(b"\xff\xda") : -2]
    start = time.perf_counter()
    with pytest.raises(UserError, match="more than 100 scans"):
        decode(whole[:-2] + last * 154_000 + whole[-2:])
    assert time.perf_counter() - start < 2


def test_what_only_looks_like_a_scan_does_not_count() -> None:
    video = b"\xff\xda\x00\x0c" * (2 * MAX_SCANS)  # behind the end, as phones put their clips
    plain = stored(BLOCKS, "JPEG", comment=b"\xff\xda" * (2 * MAX_SCANS))
    np.testing.assert_array_equal(
        np.asarray(decode(plain + video)), np.asarray(decode(stored(BLOCKS, "JPEG")))
    )


def test_there_is_one_decoder() -> None:
    source = Path(lookalike.__file__).parent
    opens = re.compile(r"Image\.open|imread|imdecode|read_image|decode_image|default_loader")
    found = [path.name for path in source.rglob("*.py") if opens.search(path.read_text())]
    assert found == ["decoding.py"]
