"""A float canvas for shaded solids: tapered capsules and columns with soft edges.

Each solid is painted analytically: every pixel gets its coverage from the distance to the outline,
its shade from the surface normal, and its colour from cloth coordinates `(angle, along)`: the angle
around the body (0 in front, in radians, positive to the picture's right) and the place along the
limb (0 at its start, 1 at its end).

Only single additions, multiplications, divisions and square roots reach a pixel. IEEE 754 rounds
those the same on every machine, so the picture is the same everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Colour = tuple[float, float, float]
Paint = Callable[[Array, Array], Array]  # (angle, along) -> colours [h, w, 3], 0..255


@dataclass(frozen=True)
class Light:
    """Directional light over ambient light; x to the right, y down, z towards the camera."""

    direction: tuple[float, float, float]
    ambient: float
    diffuse: float


def plain(colour: Colour) -> Paint:
    """Return a paint of one colour."""
    constant = np.array(colour, np.float32)
    return lambda angle, along: np.broadcast_to(constant, (*angle.shape, 3))


def arc(u: Array) -> Array:
    """Return arcsin(u) for u in [-1, 1], by a polynomial times a square root (within 0.01 rad)."""
    size = np.abs(u)
    rest = np.sqrt(1 - size) * (1.5707 + size * (-0.2121 + size * 0.0743))
    return np.asarray(np.copysign(np.float32(1.5707) - rest, u), np.float32)


def clip(values: NDArray[np.floating[Any]], low: float, high: float) -> Array:
    """Return the values within [low, high]; `np.clip` costs three times as much on small arrays."""
    return np.asarray(np.minimum(np.maximum(values, np.float32(low)), np.float32(high)), np.float32)


def bump(values: Array, centre: float, steepness: float) -> Array:
    """Return 1 where a value equals `centre`, falling linearly to 0 on both sides."""
    return clip(1 - np.abs(values - np.float32(centre)) * np.float32(steepness), 0, 1)


def wrap(angle: Array) -> Array:
    """Return the same angle within [-pi, pi)."""
    turn = np.float32(6.2831853)
    return np.asarray(angle - turn * np.floor(angle / turn + np.float32(0.5)), np.float32)


class Canvas:
    """A picture under construction: `rgb` float32 [H, W, 3] in 0..255."""

    def __init__(self, background: NDArray[np.uint8], light: Light, folds: Array) -> None:
        self.rgb = background.astype(np.float32)
        self._light = light
        self._folds = folds  # [H, W], about -1..1
        height, width = background.shape[:2]
        self._x = np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5)
        self._y = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)

    def capsule(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        radii: tuple[float, float],
        paint: Paint,
        *,
        turn: float = 0.0,
        folds: float = 0.0,
        shadow: float = 0.0,
        cut: bool = False,
    ) -> None:
        """Paint a tapered limb from `start` to `end` (x, y in pixels).

        Its ends are round; with `cut` the second one is straight, like a sleeve's. `turn` is the
        body angle that faces the camera, `folds` the depth of the cloth's folds and `shadow` the
        darkness of the soft shadow cast on what lies behind, both 0..1.
        """
        spread = max(radii) + (5 if shadow else 1)
        area = self._area(
            min(start[0], end[0]) - spread,
            max(start[0], end[0]) + spread,
            min(start[1], end[1]) - spread,
            max(start[1], end[1]) + spread,
        )
        if area is None:
            return
        rows, cols = area
        dx, dy = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
        length2 = max(dx * dx + dy * dy, np.float32(1e-3))
        length = np.sqrt(length2)
        px, py = self._x[:, cols] - np.float32(start[0]), self._y[rows] - np.float32(start[1])
        unbound = (px * dx + py * dy) / length2
        along = clip(unbound, 0, 1)
        ox, oy = px - along * dx, py - along * dy
        distance = np.sqrt(ox * ox + oy * oy)
        radius = np.float32(radii[0]) + along * np.float32(radii[1] - radii[0])
        if shadow:
            # Nothing at the start, so that an upper arm grows out of the shoulder.
            reach = clip((radius + 5 - distance) / 8, 0, 1)
            self.rgb[rows, cols] *= (1 - np.float32(shadow) * along * reach * reach)[..., None]
        across = clip((px * dy - py * dx) / (length * radius), -1, 1)
        coverage = clip(radius - distance + np.float32(0.5), 0, 1)
        if cut:
            coverage = coverage * clip((1 - unbound) * length + np.float32(0.5), 0, 1)
        # The normal of the side, at the round ends too: the next limb goes on without an edge.
        nx, ny = across * (dy / length), across * (-dx / length)
        nz = np.sqrt(1 - across * across)
        colours = paint(arc(across) + np.float32(turn), along)
        self._lay(rows, cols, coverage, (nx, ny, nz), colours, folds)

    def column(
        self,
        top: float,
        centres: Array,
        halves: Array,
        paint: Paint,
        *,
        turn: float = 0.0,
        folds: float = 0.0,
        shadow: float = 0.0,
        lean: float = 0.0,
    ) -> None:
        """Paint an upright solid given row by row.

        `top` is the y of the first row (whole pixels are used), `centres` and `halves` the middle
        and the half width of each row in pixels, `lean` the normal's y component (negative: the
        surface looks up). The rest is as in `capsule`.
        """
        first = int(top)
        skip = max(0, -first)
        centres, halves, steps = centres[skip:], halves[skip:], len(centres)
        if not len(centres):
            return
        reach = 5 if shadow else 1
        area = self._area(
            float((centres - halves).min()) - reach,
            float((centres + halves).max()) + reach,
            first + skip,
            first + steps - 1,
        )
        if area is None:
            return
        rows, cols = area
        count = rows.stop - rows.start
        x0, half = centres[:count, None], np.maximum(halves[:count, None], np.float32(0.05))
        along = (np.arange(count, dtype=np.float32)[:, None] + (skip + 0.5)) / np.float32(steps)
        along = np.broadcast_to(along, (count, cols.stop - cols.start)).astype(np.float32)
        offset = self._x[:, cols] - x0
        slope = np.zeros_like(half)
        slope[1:-1] = (half[2:] - half[:-2]) / 2
        steepness = np.sqrt(1 + np.minimum(slope * slope, 9))
        distance = (half - np.abs(offset)) / steepness
        if shadow:
            near = clip((distance + 5) / 8, 0, 1)
            self.rgb[rows, cols] *= (1 - np.float32(shadow) * near * near)[..., None]
        coverage = clip(distance + np.float32(0.5), 0, 1)
        nx = clip(offset / half, -1, 1)
        ny = np.broadcast_to(clip(np.float32(lean) - slope / 2, -0.9, 0.9), nx.shape)
        nz = np.sqrt(clip(1 - nx * nx - ny * ny, 0, 1))
        colours = paint(arc(nx) + np.float32(turn), np.asarray(along, np.float32))
        self._lay(rows, cols, coverage, (nx, ny, nz), colours, folds)

    def darken(
        self, x: float, y: float, half_width: float, half_height: float, depth: float
    ) -> None:
        """Darken a soft ellipse: a contact shadow."""
        area = self._area(x - half_width, x + half_width, y - half_height, y + half_height)
        if area is None:
            return
        rows, cols = area
        dx = (self._x[:, cols] - np.float32(x)) / np.float32(half_width)
        dy = (self._y[rows] - np.float32(y)) / np.float32(half_height)
        fall = clip(1 - dx * dx - dy * dy, 0, 1)
        self.rgb[rows, cols] *= (1 - np.float32(depth) * fall)[..., None]

    def finish(self) -> NDArray[np.uint8]:
        """Return the picture as uint8 [H, W, 3]."""
        return clip(self.rgb + np.float32(0.5), 0, 255).astype(np.uint8)

    def _area(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice] | None:
        """Return the rows and columns that the box covers, or None if it lies off the canvas."""
        height, width = self.rgb.shape[:2]
        rows = slice(max(0, int(y0)), min(height, int(y1) + 1))
        cols = slice(max(0, int(x0)), min(width, int(x1) + 1))
        return (rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None

    def _lay(
        self,
        rows: slice,
        cols: slice,
        coverage: Array,
        normal: tuple[Array, Array, Array],
        colours: Array,
        folds: float,
    ) -> None:
        lx, ly, lz = (np.float32(part) for part in self._light.direction)
        facing = np.maximum(normal[0] * lx + normal[1] * ly + normal[2] * lz, 0)
        shade = np.float32(self._light.ambient) + np.float32(self._light.diffuse) * facing
        if folds:
            shade = shade * (1 + np.float32(folds) * self._folds[rows, cols])
        patch = self.rgb[rows, cols]
        patch += coverage[..., None] * (colours * shade[..., None] - patch)
