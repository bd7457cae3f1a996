"""Who is in the picture: a person's body and clothes, the same in all images of that person."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lookalike.data.rendering.canvas import Array, Colour, clip, wrap
from lookalike.data.rendering.dice import Dice, Stream

LowerKind = Literal["trousers", "shorts", "skirt"]
Bag = Literal["none", "backpack", "shoulder", "hand"]
Pattern = Literal["plain", "rows", "columns", "checks", "yoke", "sides", "print", "back", "dots"]

SKINS: dict[Colour, float] = {
    (228, 188, 160): 5,
    (214, 168, 138): 6,
    (196, 148, 116): 4,
    (150, 104, 76): 1.5,
    (98, 66, 48): 1,
}
HAIRS: dict[Colour, float] = {
    (24, 20, 20): 10,
    (44, 32, 26): 5,
    (82, 54, 36): 2,
    (150, 110, 66): 1,
    (130, 126, 122): 1,
}
# Few colours with heavy weights on the common ones: many strangers dress alike.
UPPERS: dict[Colour, float] = {
    (232, 230, 226): 9,
    (34, 34, 38): 8,
    (128, 130, 134): 5,
    (178, 182, 188): 3,
    (40, 52, 92): 4,
    (84, 124, 178): 4,
    (158, 196, 222): 2,
    (176, 36, 42): 4,
    (224, 118, 134): 3,
    (238, 188, 196): 2,
    (222, 192, 72): 2,
    (226, 128, 50): 1.5,
    (52, 108, 70): 2,
    (128, 170, 108): 1.5,
    (112, 72, 128): 2,
    (120, 84, 56): 1.5,
    (206, 186, 150): 3,
    (52, 152, 160): 1.5,
}
LOWERS: dict[Colour, float] = {
    (32, 32, 36): 9,
    (44, 54, 84): 7,
    (74, 92, 128): 6,
    (120, 140, 172): 3,
    (84, 84, 88): 4,
    (146, 128, 100): 3,
    (196, 180, 150): 2,
    (216, 214, 208): 2,
    (84, 62, 46): 1.5,
    (78, 86, 58): 1,
    (150, 40, 48): 1,
    (206, 120, 140): 1,
}
SHOES: dict[Colour, float] = {
    (28, 26, 26): 6,
    (220, 218, 214): 5,
    (92, 64, 44): 2,
    (120, 120, 124): 2,
    (170, 44, 48): 1,
    (52, 76, 132): 1,
}
BAGS: dict[Colour, float] = {
    (30, 30, 34): 6,
    (44, 52, 84): 2,
    (120, 80, 50): 2,
    (164, 44, 50): 1.5,
    (92, 96, 88): 1.5,
    (214, 190, 150): 1,
    (196, 96, 128): 1,
    (58, 112, 156): 1,
}


_HALF_TURN = 3.1415927


@dataclass(frozen=True)
class Cloth:
    """A piece of cloth: two colours, a pattern and the printed motif."""

    colour: Colour
    second: Colour
    pattern: Pattern
    frequency: float
    motif: NDArray[np.uint8]  # [16, 16] of 0 and 1

    def paint(self, angle: Array, along: Array) -> Array:
        """Return the cloth's colours [h, w, 3] at an angle around the body and a place along it."""
        mask = self._mask(angle, along)[..., None]
        base, second = np.array(self.colour, np.float32), np.array(self.second, np.float32)
        return np.asarray(base + mask * (second - base), np.float32)

    def _mask(self, angle: Array, along: Array) -> Array:
        rows = _wave(along * np.float32(self.frequency))
        if self.pattern == "rows":
            return rows + np.zeros_like(angle)
        if self.pattern == "columns":
            return _wave(angle * np.float32(self.frequency / 3))
        if self.pattern == "checks":
            return np.float32(0.5) * (rows + _wave(angle * np.float32(self.frequency / 3)))
        if self.pattern == "yoke":
            return clip((np.float32(0.42) - along) * 20, 0, 1) + np.zeros_like(angle)
        if self.pattern == "sides":
            off_side = np.abs(np.abs(wrap(angle)) - np.float32(_HALF_TURN / 2))
            return clip((np.float32(0.74) - off_side) * 4, 0, 1)
        if self.pattern == "dots":
            return self._tile(angle * np.float32(0.9), along * np.float32(self.frequency / 3))
        if self.pattern in ("print", "back"):
            middle = 0.0 if self.pattern == "print" else _HALF_TURN
            x = wrap(angle - np.float32(middle)) / np.float32(1.3) + np.float32(0.5)
            y = (along - np.float32(0.22)) / np.float32(0.36)
            inside = (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
            return np.asarray(self._tile(x, y) * inside, np.float32)
        return np.zeros_like(angle)

    def _tile(self, x: Array, y: Array) -> Array:
        col = (np.floor(x * 16).astype(np.int32)) & 15
        row = (np.floor(y * 16).astype(np.int32)) & 15
        return np.asarray(self.motif[row, col], np.float32)


@dataclass(frozen=True)
class Person:
    """One person. Lengths are in body heights unless said otherwise."""

    height: float  # relative to the average adult, 1.0
    build: float  # relative width of trunk and limbs
    shoulders: float  # half width
    hips: float  # half width
    skin: Colour
    hair: Colour
    hair_style: Literal["bald", "short", "bob", "long", "tail"]
    hat: Literal["none", "cap", "beanie", "brim"]
    hat_colour: Colour
    upper: Cloth
    sleeve: float  # covered part of the arm, 0..1
    hem: float  # height of the upper garment's lower edge
    inner: Colour | None  # what an open jacket shows
    looseness: float  # extra cloth around trunk and arms
    lower: Cloth
    lower_kind: LowerKind
    lower_end: float  # height of the lower edge of trousers, shorts or skirt
    lower_width: float  # leg width, relative
    stockings: Colour | None
    shoes: Colour
    bag: Bag
    bag_colour: Colour
    bag_size: float
    bag_side: int  # -1 left, +1 right
    stride: float  # amplitude of the thighs while walking, radians
    stoop: float


@lru_cache(maxsize=64)
def sample_person(seed: int, index: int) -> Person:
    """Return person `index` of the population `seed`; every (seed, index) is another person."""
    dice = Dice(Stream.PERSON, seed, index)
    slender = dice.chance(0.45)
    sleeve = dice.weighted({0.38: 5.0, 0.0: 0.6 if slender else 0.1, 0.7: 0.8, 0.96: 4.0})
    jacket = sleeve > 0.9 and dice.chance(0.6)
    kinds: dict[LowerKind, float] = {
        "trousers": 6.0,
        "shorts": 2.0,
        "skirt": 2.4 if slender else 0.0,
    }
    kind = dice.weighted(kinds)
    ends = {"trousers": (0.045, 0.07), "shorts": (0.26, 0.34), "skirt": (0.2, 0.36)}[kind]
    bags: dict[Bag, float] = {"none": 4.0, "backpack": 3.0, "shoulder": 2.0, "hand": 1.6}
    return Person(
        height=dice.bell(0.97 if slender else 1.02, 0.035),
        build=dice.bell(0.97, 0.08) if slender else dice.bell(1.06, 0.1),
        shoulders=dice.bell(0.108 if slender else 0.122, 0.005),
        hips=dice.bell(0.086 if slender else 0.082, 0.004),
        skin=_near(dice, dice.weighted(SKINS), 6),
        hair=_near(dice, dice.weighted(HAIRS), 5),
        hair_style=dice.weighted(
            {"long": 4.0, "tail": 3.0, "bob": 2.0, "short": 1.0}
            if slender
            else {"short": 9.0, "bald": 0.7, "bob": 0.5}
        ),
        hat=dice.weighted({"none": 10.0, "cap": 1.2, "beanie": 0.5, "brim": 0.5}),
        hat_colour=_near(dice, dice.weighted(BAGS), 8),
        upper=_cloth(
            dice,
            UPPERS,
            {
                "plain": 7.0,
                "rows": 2.0,
                "columns": 0.6,
                "checks": 1.2,
                "yoke": 1.0,
                "sides": 0.8,
                "print": 2.6,
                "back": 0.8,
                "dots": 0.8,
            },
        ),
        sleeve=sleeve,
        hem=dice.between(0.34, 0.44) if jacket and dice.chance(0.3) else dice.between(0.44, 0.485),
        inner=dice.weighted(UPPERS) if jacket and dice.chance(0.6) else None,
        looseness=dice.between(0.15, 0.3) if jacket else dice.between(0.0, 0.16),
        lower=_cloth(
            dice,
            LOWERS,
            {
                "plain": 12.0,
                "sides": 1.0,
                "checks": 0.5 if kind != "trousers" else 0.1,
                "dots": 0.8 if kind == "skirt" else 0.0,
            },
        ),
        lower_kind=kind,
        lower_end=dice.between(*ends),
        lower_width=dice.between(0.9, 1.25) if kind == "trousers" else dice.between(1.0, 1.35),
        stockings=(36, 34, 38) if kind == "skirt" and dice.chance(0.3) else None,
        shoes=_near(dice, dice.weighted(SHOES), 6),
        bag=dice.weighted(bags),
        bag_colour=_near(dice, dice.weighted(BAGS), 8),
        bag_size=dice.between(0.75, 1.2),
        bag_side=dice.choice((-1, 1)),
        stride=dice.between(0.28, 0.42),
        stoop=dice.between(0.0, 0.07),
    )


def _wave(phase: Array) -> Array:
    """Return a soft square wave of period 1 in 0..1."""
    saw = np.abs(phase - np.floor(phase) - np.float32(0.5))
    return clip((saw - np.float32(0.25)) * 8 + np.float32(0.5), 0, 1)


def _near(dice: Dice, colour: Colour, spread: float) -> Colour:
    """Return a colour close to `colour`: its brightness moves more than its hue."""
    light = dice.bell(0, spread)
    red, green, blue = (min(250.0, max(8.0, c + light + dice.bell(0, spread / 3))) for c in colour)
    return red, green, blue


def _cloth(dice: Dice, palette: dict[Colour, float], patterns: dict[Pattern, float]) -> Cloth:
    colour = _near(dice, dice.weighted(palette), 7)
    second = colour
    while sum(abs(a - b) for a, b in zip(colour, second, strict=True)) < 90:
        second = dice.weighted(palette)
    blobs = cv2.resize(dice.bytes(4, 4), (16, 16), interpolation=cv2.INTER_LINEAR_EXACT)
    return Cloth(
        colour=colour,
        second=_near(dice, second, 7),
        pattern=dice.weighted(patterns),
        frequency=dice.choice((4.0, 6.0, 9.0)),
        motif=(blobs > 135).astype(np.uint8),
    )
