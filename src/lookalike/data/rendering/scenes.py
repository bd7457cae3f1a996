"""Where the picture is taken: cameras, each with its place, light, lens and colour response."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lookalike.data.rendering.canvas import Light
from lookalike.data.rendering.dice import Dice, Stream

Image = NDArray[np.uint8]

PANORAMA = (640, 1280)  # rows, columns of a place, at the canvas's resolution
HORIZON = 240  # the panorama's row where walls meet the ground


@dataclass(frozen=True)
class Camera:
    """One camera. Its place and optics do not depend on the population's seed."""

    number: int
    light: Light
    pitch: float  # looks down by this angle, radians
    roll: float  # shear of the picture, x per y
    fill: float  # share of the crop's height that a person takes
    horizon: float  # share of the crop's height above the ground
    blur: float  # Gaussian sigma in pixels of the final crop
    detail: float  # 1.0: sharp; 0.6: taken from afar and enlarged
    noise: float  # sensor noise, grey levels
    response: Image  # look-up table [256, 3]: exposure, contrast, gamma and cast of each channel
    saturation: float


@lru_cache(maxsize=32)
def camera(number: int) -> Camera:
    """Return camera `number`, counted from 1."""
    dice = Dice(Stream.PLACE, number, 0)
    side = (-0.7, 0.6, 0.1, -0.35, 0.75, 0.3)[(number - 1) % 6] + dice.between(-0.1, 0.1)
    contrast = dice.between(0.45, 0.62)
    gain = (0.9, 1.1, 0.78, 1.02, 0.94, 1.14)[(number - 1) % 6]
    casts = (
        (1.0, 1.0, 0.95),
        (1.05, 1.0, 0.88),
        (0.92, 0.98, 1.1),
        (0.96, 1.03, 0.95),
        (1.03, 0.96, 1.04),
        (0.97, 1.0, 1.04),
    )
    return Camera(
        number=number,
        light=Light((side, -0.45, 0.62), ambient=1.04 - contrast, diffuse=contrast),
        pitch=(0.1, 0.22, 0.32, 0.14, 0.26, 0.06)[(number - 1) % 6],
        roll=dice.between(-0.05, 0.05),
        fill=(0.93, 0.92, 0.92, 0.94, 0.92, 0.93)[(number - 1) % 6],
        horizon=(0.42, 0.12, -0.1, 0.3, 0.05, 0.5)[(number - 1) % 6],
        blur=(0.3, 0.4, 0.5, 0.25, 0.45, 0.4)[(number - 1) % 6],
        detail=(1.0, 0.9, 0.8, 1.0, 0.88, 0.8)[(number - 1) % 6],
        noise=dice.between(1.0, 2.6),
        response=_response(gain, casts[(number - 1) % 6], dice),
        saturation=(1.0, 0.8, 0.75, 1.1, 0.95, 0.65)[(number - 1) % 6],
    )


@lru_cache(maxsize=32)
def place(number: int) -> Image:
    """Return the panorama [640, 1280, 3] that a camera watches: walls above, ground below."""
    dice = Dice(Stream.PLACE, number, 1)
    rows, columns = PANORAMA
    picture = np.empty((rows, columns, 3), np.uint8)
    wall = dice.choice(((168, 158, 146), (150, 148, 150), (172, 150, 128), (128, 130, 132)))
    ground = dice.choice(((150, 148, 144), (136, 134, 132), (164, 156, 144), (142, 146, 150)))
    picture[:HORIZON] = wall
    picture[HORIZON:] = ground
    (_shops, _hedge, _bricks)[number % 3](picture, dice)
    _pavement(picture, dice)
    if number % 3 != 1:
        _lawn(picture, dice, HORIZON + dice.integer(20, 60), dice.integer(40, 80))
    for _ in range(dice.integer(3, 6)):
        parked_bike(picture, dice, dice.integer(0, columns), HORIZON + dice.integer(20, 45), 46)
    grain = cv2.GaussianBlur(dice.bytes(rows, columns), (0, 0), 1.4).astype(np.int16) - 128
    patches = cv2.GaussianBlur(dice.bytes(rows // 8, columns // 8), (0, 0), 3)
    patches = cv2.resize(patches, (columns, rows), interpolation=cv2.INTER_LINEAR_EXACT)
    uneven = grain // 3 + (patches.astype(np.int16) - 128) * 3 // 2
    return np.clip(picture + uneven[..., None], 0, 255).astype(np.uint8)


def parked_bike(picture: Image, dice: Dice, x: int, y: int, size: int) -> None:
    """Draw a bicycle into `picture`: `x` its middle, `y` where the wheels stand, `size` a wheel's
    height in pixels."""
    radius, tyre = size // 2, (44, 42, 44)
    frame = dice.choice(((140, 44, 44), (46, 66, 120), (60, 62, 66), (170, 170, 174), (52, 92, 66)))
    back, front = (x - size * 3 // 4, y - radius), (x + size * 3 // 4, y - radius)
    seat, crank, head = (x - size // 3, y - size), (x - 4, y - radius), (x + size // 2, y - size)
    thick = max(2, size // 18)
    for wheel in (back, front):
        cv2.circle(picture, wheel, radius, tyre, thick, cv2.LINE_AA)
    for a, b in (
        (back, seat),
        (back, crank),
        (seat, crank),
        (seat, head),
        (crank, head),
        (head, front),
    ):
        cv2.line(picture, a, b, frame, thick + 1, cv2.LINE_AA)
    bar = (head[0] - size // 8, head[1] - size // 5)
    cv2.line(picture, head, bar, tyre, thick, cv2.LINE_AA)
    cv2.line(
        picture,
        (seat[0] - size // 6, seat[1]),
        (seat[0] + size // 7, seat[1]),
        tyre,
        thick * 2,
        cv2.LINE_AA,
    )


def _response(gain: float, cast: tuple[float, float, float], dice: Dice) -> Image:
    """Return the look-up table [256, 3] of a camera."""
    lift, gamma = dice.between(4, 18), dice.between(0.9, 1.15)
    table = np.empty((256, 3), np.uint8)
    for channel in range(3):
        for level in range(256):
            value = lift + (250 - lift) * (level / 255) ** gamma * gain * cast[channel]
            # A soft shoulder keeps highlights from clipping at once.
            value = value if value < 200 else 200 + 55 * (1 - 1 / (1 + (value - 200) / 55))
            table[level, channel] = round(min(255.0, value))
    return table


def _shops(picture: Image, dice: Dice) -> None:
    """Glass fronts with signs and doors."""
    x = 0
    while x < picture.shape[1]:
        width = dice.integer(70, 150)
        glass = dice.choice(((86, 98, 108), (104, 112, 116), (70, 78, 84), (124, 122, 112)))
        cv2.rectangle(picture, (x + 6, 70), (x + width - 6, HORIZON - 12), glass, -1)
        for _ in range(4):  # what shines through or is mirrored
            left = x + dice.integer(8, width - 20)
            top = dice.integer(80, HORIZON - 70)
            shade = tuple(int(c) + dice.integer(-30, 40) for c in glass)
            cv2.rectangle(picture, (left, top), (left + dice.integer(8, 30), top + 50), shade, -1)
        sign = dice.choice(((150, 60, 54), (60, 84, 130), (190, 176, 140), (84, 110, 84)))
        cv2.rectangle(picture, (x, 34), (x + width - 4, 62), sign, -1)
        cv2.line(picture, (x, 0), (x, HORIZON), (116, 112, 108), 3, cv2.LINE_AA)
        x += width


def _hedge(picture: Image, dice: Dice) -> None:
    """Bushes and tree trunks in front of a plain wall."""
    for _ in range(1500):
        x, y = dice.integer(0, picture.shape[1]), HORIZON - dice.integer(0, 150)
        shade = dice.integer(-26, 30)
        colour = (74 + shade, 100 + shade, 60 + shade // 2)
        cv2.ellipse(
            picture,
            (x, y),
            (dice.integer(4, 11), dice.integer(3, 8)),
            dice.integer(0, 180),
            0,
            360,
            colour,
            -1,
            cv2.LINE_AA,
        )
    for _ in range(5):
        x, width = dice.integer(0, picture.shape[1]), dice.integer(10, 20)
        cv2.rectangle(picture, (x, 0), (x + width, HORIZON + 10), (92, 82, 70), -1)


def _bricks(picture: Image, dice: Dice) -> None:
    """A brick wall with windows."""
    for row, y in enumerate(range(0, HORIZON, 12)):
        for x in range(-(row % 2) * 15, picture.shape[1], 30):
            shade = dice.integer(-10, 10)
            cv2.rectangle(
                picture, (x, y), (x + 28, y + 10), (152 + shade, 122 + shade, 104 + shade), -1
            )
    x = 40
    while x < picture.shape[1]:
        cv2.rectangle(picture, (x, 40), (x + 70, 150), (202, 200, 194), -1)
        cv2.rectangle(picture, (x + 6, 46), (x + 64, 144), (88, 100, 112), -1)
        cv2.line(picture, (x + 35, 46), (x + 35, 144), (202, 200, 194), 4)
        x += dice.integer(130, 220)


def _pavement(picture: Image, dice: Dice) -> None:
    """Slabs in perspective, a kerb along the wall."""
    rows, columns = picture.shape[:2]
    base = picture[HORIZON, 0].astype(int)
    joint = tuple(int(c) - 16 for c in base)
    y, step = float(HORIZON), 9.0
    while y < rows:
        cv2.line(picture, (0, int(y)), (columns, int(y)), joint, 1 + int(step > 30), cv2.LINE_AA)
        y, step = y + step, step * 1.13
    middle = columns // 2
    for x in range(-columns, 2 * columns, dice.integer(60, 90)):
        cv2.line(picture, (middle + (x - middle) // 2, HORIZON), (x, rows), joint, 1, cv2.LINE_AA)
    cv2.rectangle(
        picture, (0, HORIZON - 8), (columns, HORIZON + 4), tuple(int(c) + 14 for c in base), -1
    )


def _lawn(picture: Image, dice: Dice, top: int, height: int) -> None:
    """A strip of grass."""
    columns = picture.shape[1]
    blades = dice.bytes(height, columns // 2).repeat(2, axis=1).astype(np.int16) // 8 - 16
    strip = np.array((104, 124, 78), np.int16) + blades[..., None]
    picture[top : top + height] = np.clip(strip, 0, 255).astype(np.uint8)
