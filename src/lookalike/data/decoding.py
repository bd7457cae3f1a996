"""The one decoder: every picture that comes in anywhere is read here, as a viewer shows it.

What that means, kind by kind, is a table in docs/deploy.md; tests/unit/data/test_decoding.py has it
too.
"""

from __future__ import annotations

import io
import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from lookalike.errors import UserError

REVISION = 2  # another one wherever pixels change; cached crops of an older one are not used
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # Pillow's rarer decoders fail in more ways
MAX_PIXELS = 64 * 1024 * 1024  # a crop is small; more is a decompression bomb
MAX_SCANS = (
    100  # of a progressive JPEG; encoders write about ten, each costs a pass over the pixels
)
BACKGROUND = "white"  # behind what is transparent, as on a page
UPRIGHT = {  # what EXIF's orientation asks for
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
COLOUR_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}  # Pillow's name: ICC's
ALIKE = 2  # of 255: a profile that moves no colour further is sRGB in other words
# Markers of a JPEG that a length follows; fill bytes, restarts and stuffed zeros are passed over.
SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
SCAN, END = 0xDA, 0xD9

# Pillow's remarks on damaged EXIF, with its own file names: what matters it raises.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(data: bytes, name: str = "image", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an encoded picture to RGB, 8 bits, sRGB, as a viewer shows it.

    Turned upright as EXIF says, transparency on white, colours converted by the embedded ICC
    profile, the first picture of several, the high byte of 16 bits.

    Raises:
        UserError: not an image, truncated, of more than `max_pixels` pixels, or a JPEG of more
            scans than any encoder writes.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > max_pixels:
            raise UserError(f"{name}: {image.width}x{image.height} pixels are too many for a crop")
        if image.format in ("JPEG", "MPO") and _has_many_scans(data):
            raise UserError(f"{name}: a JPEG of more than {MAX_SCANS} scans is no picture")
        return _as_shown(image)
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


def _as_shown(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    turn = _turn(image)
    alpha = _alpha(image)
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("1", "L", "LA"):
        plain = image.convert("L")
    elif image.mode == "CMYK":
        plain = image
    else:
        # By way of RGBA, because Pillow warns of palettes whose transparency it drops.
        plain = image.convert("RGBA").convert("RGB") if alpha else image.convert("RGB")
    transform = _to_srgb(profile, plain.mode) if profile else None
    shown = transform.apply(plain) if transform else plain.convert("RGB")
    if alpha:
        shown, colours = Image.new("RGB", shown.size, BACKGROUND), shown
        shown.paste(colours, mask=alpha)
    return shown if turn is None else shown.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow fails in many ways at a damaged EXIF, which viewers ignore
        return None


def _alpha(image: Image.Image) -> Image.Image | None:
    """Opacity, mode L; None where nothing is transparent."""
    if not image.has_transparency_data:
        return None
    key: Any = image.info.get("transparency")
    if image.mode == "I;16":  # one grey is transparent, by all its 16 bits
        return Image.fromarray(np.where(np.asarray(image) == key, 0, 255).astype(np.uint8))
    if image.mode == "RGB" and max(key) > 255:  # of 16 bits, of which Pillow keeps 8
        return None
    return image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA").getchannel("A")


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The conversion to sRGB; None for what is sRGB, damaged, or a profile of another mode."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != COLOUR_SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None
    if mode == "CMYK":
        return transform
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * len(mode)), axis=-1).reshape(1, -1, len(mode))
    colours = Image.fromarray(grid.squeeze(2) if mode == "L" else grid)
    before = np.asarray(colours.convert("RGB"), dtype=int)
    moved = np.abs(np.asarray(transform.apply(colours), dtype=int) - before).max()
    return transform if moved > ALIKE else None


def _has_many_scans(data: bytes) -> bool:
    place, scans = 2, 0
    while found := SEGMENT.search(data, place):
        kind, place = data[found.start() + 1], found.end()
        if kind == END:
            break
        scans += kind == SCAN
        if scans > MAX_SCANS:
            return True
        place += int.from_bytes(data[place : place + 2])
    return False
