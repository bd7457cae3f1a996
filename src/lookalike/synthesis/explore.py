"""What a generator has learnt, in pictures: seeds, style mixing, interpolation, motion.

Each function fills an album: pictures, and NAME.json with the seed, the recipe, the truncation and
the motion of every one (`synthesis/album.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from lookalike.config import Group
from lookalike.files import replacing
from lookalike.progress import Progress
from lookalike.report.figures import BLUE, Band, Cell, contact_sheet
from lookalike.synthesis.album import SHEET_SIDE, Album, Motion, Picture, Pixels
from lookalike.synthesis.recipes import Recipe

STRIP_STEPS = 8  # a strip's row has at most one picture more


def draw_seeds(album: Album, seeds: Sequence[int], psi: float) -> None:
    """A file per seed, and a contact sheet of all; a seed given twice is drawn once."""
    seeds = list(dict.fromkeys(seeds))
    images = []
    with Progress(album.name, len(seeds)) as progress:
        for seed in seeds:
            file = f"seed{seed:06d}.png"
            images.append(
                album.draw(Picture(seed, Recipe("base", psi=psi, label=album.label)), file)
            )
            with replacing(album.folder / file) as partial:
                Image.fromarray(images[-1]).save(partial, optimize=True)
            progress.advance()
    sheet = f"{album.name}.png"
    contact_sheet(
        np.stack(images),
        album.folder / sheet,
        captions=[str(seed) for seed in seeds],
        scale=album.enlargement(SHEET_SIDE),
        heading=f"seeds, psi {psi}",
    )
    album.close(sheet)


def draw_mixes(
    album: Album, rows: Sequence[int], columns: Sequence[int], groups: Sequence[Group], psi: float
) -> None:
    """A grid per group of styles (the study's figure).

    A cell has the styles of its row's seed, those of the group from its column's seed. The sources
    stand in the first column and row, framed.
    """
    per_group = (len(rows) + 1) * (len(columns) + 1) - 1
    with Progress(album.name, len(groups) * per_group) as progress:
        for group in groups:
            file = f"{album.name}_{group}.png"

            def cell(r: int, c: int, group: Group = group, file: str = file) -> Cell:
                """Of the sheet's row r and column c; 0 are the sources."""
                if r == c == 0:
                    return _blank(album)
                progress.advance()
                seed = rows[r - 1] if r else columns[c - 1]
                if r and c:
                    recipe = Recipe(
                        "mix", group=group, psi=psi, label=album.label, partner=str(columns[c - 1])
                    )
                    return Cell(album.draw(Picture(seed, recipe), file, row=r, column=c))
                source = Picture(seed, Recipe("base", psi=psi, label=album.label))
                return Cell(album.draw(source, file, row=r, column=c), str(seed), BLUE)

            grid = [[cell(r, c) for c in range(len(columns) + 1)] for r in range(len(rows) + 1)]
            heading = f"rows, with the {group} styles of the columns, psi {psi}"
            album.sheet([Band(heading, grid)], file)
    album.close()


def draw_interpolation(album: Album, seeds: Sequence[int], psi: float, frames: int) -> None:
    """From seed to seed along straight lines in W: a strip, and a video that ends where it began.

    Args:
        album: to fill.
        seeds: at least two; the video returns from the last to the first.
        psi: truncation of all seeds.
        frames: of the video, from one seed to the next.
    """
    assert len(seeds) > 1
    video, strip = f"{album.name}.mp4", f"{album.name}.png"
    total = len(seeds) * frames

    def picture(index: int) -> Picture:
        step, frame = divmod(index, frames)
        other = seeds[(step + 1) % len(seeds)]
        t = round(frame / frames, 6)
        recipe = Recipe("interpolate", amount=t, psi=psi, label=album.label, partner=str(other))
        return Picture(seeds[step], recipe)

    steps = min(STRIP_STEPS, frames)
    rows = [
        [step * frames + round(frames * k / steps) for k in range(steps + 1)]
        for step in range(len(seeds) - 1)
    ]
    shown: dict[int, Cell] = {index: _blank(album) for row in rows for index in row}

    def drawn() -> Iterator[Pixels]:
        with Progress(album.name, total) as progress:
            for index in range(total):
                image = album.draw(picture(index), video, frame=index)
                if index in shown:
                    step, frame = divmod(index, frames)
                    caption = f"{frame / frames:.3g}" if frame else str(seeds[step])
                    shown[index] = Cell(image, caption, None if frame else BLUE)
                yield image
                progress.advance()

    album.video(drawn(), video)
    for r, row in enumerate(rows):
        for c, index in enumerate(row):
            album.note(picture(index), strip, row=r, column=c)
    cells = [[shown[index] for index in row] for row in rows]
    album.sheet([Band(f"interpolation in W, psi {psi}", cells)], strip)
    album.close()


def draw_motion(
    album: Album, seeds: Sequence[int], psi: float, motion: Motion, frames: int
) -> None:
    """The scene moved by the generator's input (equivariance): a strip, and a video that loops.

    The strip goes evenly from the motion reversed to the motion, a row per seed. The video, all
    seeds side by side, swings between the two.
    """
    video, strip = f"{album.name}.mp4", f"{album.name}.png"
    steps = STRIP_STEPS + 1
    with Progress(album.name, len(seeds) * (steps + frames)) as progress:

        def drawn(amount: float, seed: int, file: str, **place: int) -> Pixels:
            progress.advance()
            picture = Picture(
                seed, Recipe("base", psi=psi, label=album.label), motion.times(amount)
            )
            return album.draw(picture, file, **place)

        rows = []
        for r, seed in enumerate(seeds):
            amounts = [2 * c / STRIP_STEPS - 1 for c in range(steps)]
            images = [drawn(a, seed, strip, row=r, column=c) for c, a in enumerate(amounts)]
            captions = [f"{a:+.2f}" if a else str(seed) for a in amounts]
            rows.append([Cell(*parts) for parts in zip(images, captions, strict=True)])
        heading = f"moved by x {motion.x}, y {motion.y}, {motion.angle} degrees, psi {psi}"
        album.sheet([Band(heading, rows)], strip)

        def swinging() -> Iterator[Pixels]:
            for frame in range(frames):
                amount = math.sin(2 * math.pi * frame / frames)
                beside = [
                    drawn(amount, s, video, frame=frame, column=c) for c, s in enumerate(seeds)
                ]
                yield np.concatenate(beside, axis=1)

        album.video(swinging(), video)
    album.close()


def _blank(album: Album) -> Cell:
    """An empty place of a grid."""
    canvas = album.generator.config
    return Cell(np.full((canvas.height, canvas.width, 3), 255, np.uint8))
