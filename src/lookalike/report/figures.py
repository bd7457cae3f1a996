"""Sheets of crops: what was rendered, generated and inverted, and how any sheet is laid out.

Sheets of one stage alone are in files of their own: a change there must not train the generator
again, whose samples are drawn here.

Crops are enlarged by whole factors without interpolation, so that a sheet shows the stored pixels
and nothing else. The same input gives the same bytes: text is drawn with the font inside Pillow.
The suffix of the path chooses the format: `.png` (exact), or `.jpg` (quality 88, a tenth of the
size for photographs; use it for what is committed under `docs/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from lookalike.data.loading import Images, encode_jpeg

Colour = tuple[int, int, int]

GREEN: Colour = (34, 150, 60)  # kept, or the right person
RED: Colour = (205, 35, 45)  # rejected, or another person
BLUE: Colour = (40, 90, 190)  # a query or a source
PAPER: Colour = (255, 255, 255)
INK: Colour = (30, 30, 30)

FRAME = 3  # pixels of a coloured frame, outside the crop
GAP = 6  # pixels between slots and around the sheet
FONT_SIZE = 12
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Cell:
    """A crop (uint8 [H, W, 3]) with what stands below and around it."""

    image: npt.NDArray[np.uint8]
    caption: str = ""  # short; line breaks are kept, and the widest line widens all slots
    border: Colour | None = None


@dataclass(frozen=True)
class Band:
    """Rows of cells under a heading; None is an empty slot."""

    heading: str
    rows: Sequence[Sequence[Cell | None]]


def contact_sheet(
    images: Images,
    path: Path,
    *,
    columns: int = 10,
    captions: Sequence[str] | None = None,
    borders: Sequence[Colour | None] | None = None,
    scale: int = 1,
    heading: str = "",
) -> None:
    """Write crops row by row into one picture.

    Args:
        images: uint8 [N, H, W, 3]; N = 0 gives a sheet that says so.
        path: `.png` or `.jpg`.
        captions, borders: one per crop, if given.
        scale: whole factor of enlargement.

    Raises:
        ValueError: captions or borders do not match the images, or the suffix is unknown.
    """
    captions = [""] * len(images) if captions is None else captions
    borders = [None] * len(images) if borders is None else borders
    for name, values in (("captions", captions), ("borders", borders)):
        if len(values) != len(images):
            raise ValueError(f"{path.name}: {len(values)} {name} for {len(images)} images")
    cells = [Cell(*parts) for parts in zip(images, captions, borders, strict=True)]
    draw_sheet([Band(heading if cells else "no images", wrap(cells, columns))], path, scale=scale)


def sources_and_variations(
    sources: Images,
    variations: npt.NDArray[np.uint8],
    path: Path,
    *,
    reconstructions: Images | None = None,
    captions: Sequence[str] | None = None,
    called: str = "variations",
    scale: int = 1,
) -> None:
    """Write each real person (blue) beside the reconstruction and what was made of it.

    Args:
        sources: uint8 [N, H, W, 3].
        variations: uint8 [N, K, h, w, 3].
        reconstructions: uint8 [N, h, w, 3], the generator's output at the inverted latent.
        captions: one per source.
        called: what the variations are, in the heading.
    """
    rows = []
    for n, (source, varied) in enumerate(zip(sources, variations, strict=True)):
        row = [Cell(source, captions[n] if captions else "real", BLUE)]
        if reconstructions is not None:
            row.append(Cell(reconstructions[n], "inverted"))
        rows.append(row + [Cell(image) for image in varied])
    middle = "" if reconstructions is None else " | its inversion"
    draw_sheet([Band(f"real{middle} | {called}", rows)], path, scale)


def wrap(cells: Sequence[Cell], columns: int) -> list[Sequence[Cell | None]]:
    """Rows of so many cells; the last one may be shorter."""
    return [cells[start : start + columns] for start in range(0, len(cells), columns)]


def draw_sheet(bands: Sequence[Band], path: Path, scale: int = 1) -> None:
    """Lay out bands of cells, all in slots of one size, and write the picture.

    Raises:
        ValueError: the suffix is neither `.png` nor `.jpg`, or the scale is below 1.
    """
    if path.suffix not in (".png", ".jpg"):
        raise ValueError(f"{path.name}: sheets are .png or .jpg")
    if scale < 1:
        raise ValueError(f"{path.name}: scale {scale} is below 1")
    font = ImageFont.load_default(FONT_SIZE)
    line = FONT_SIZE + 3
    cells = [cell for band in bands for row in band.rows for cell in row if cell]
    text_width = max((_width(font, cell.caption) for cell in cells), default=0)
    crop_width = max((cell.image.shape[1] for cell in cells), default=0) * scale
    crop_height = max((cell.image.shape[0] for cell in cells), default=0) * scale
    lines = max((cell.caption.count("\n") + 1 for cell in cells if cell.caption), default=0)
    slot_width = max(crop_width + 2 * FRAME, text_width)
    slot_height = crop_height + 2 * FRAME + lines * line

    across = max((len(row) for band in bands for row in band.rows), default=0)
    headings = max(_width(font, band.heading) for band in bands)
    width = GAP + max(across * (slot_width + GAP), headings + GAP)
    height = GAP + sum(
        (line + GAP if band.heading else 0) + len(band.rows) * (slot_height + GAP) for band in bands
    )
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    y = GAP
    for band in bands:
        if band.heading:
            draw.text((GAP, y), band.heading, INK, font)
            y += line + GAP
        for row in band.rows:
            for column, cell in enumerate(row):
                if cell is None:
                    continue
                x = GAP + column * (slot_width + GAP)
                _paste(sheet, cell, x + (slot_width - crop_width) // 2 - FRAME, y, scale)
                if cell.caption:
                    place = (x + slot_width // 2, y + crop_height + 2 * FRAME)
                    draw.multiline_text(
                        place, cell.caption, INK, font, anchor="ma", align="center", spacing=3
                    )
            y += slot_height + GAP

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        sheet.save(path, "PNG", optimize=True)
    else:
        path.write_bytes(encode_jpeg(np.asarray(sheet), JPEG_QUALITY))


def _paste(sheet: Image.Image, cell: Cell, x: int, y: int, scale: int) -> None:
    """Put a crop, enlarged, with its frame's upper left corner at (x, y)."""
    pixels = cell.image.repeat(scale, axis=0).repeat(scale, axis=1)
    if cell.border:
        framed = (x, y, x + pixels.shape[1] + 2 * FRAME, y + pixels.shape[0] + 2 * FRAME)
        sheet.paste(cell.border, framed)
    sheet.paste(Image.fromarray(pixels), (x + FRAME, y + FRAME))


def _width(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> int:
    return max(int(np.ceil(font.getlength(line))) for line in text.split("\n"))
