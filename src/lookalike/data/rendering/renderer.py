"""One pedestrian crop: a person, seen by a camera, at a moment -> uint8 RGB [128, 64, 3].

The crop is drawn at twice its size and halved with integer arithmetic; see `canvas` for why the
bytes are the same on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lookalike.data.rendering.appearance import Person
from lookalike.data.rendering.body import Body, Pose, Stand
from lookalike.data.rendering.canvas import Array, Canvas, bump, clip, plain
from lookalike.data.rendering.dice import Dice, Stream
from lookalike.data.rendering.figure import draw_figure
from lookalike.data.rendering.scenes import (
    HORIZON,
    PANORAMA,
    Camera,
    Image,
    camera,
    parked_bike,
    place,
)

HEIGHT, WIDTH = 128, 64
_H, _W = 2 * HEIGHT, 2 * WIDTH


@dataclass(frozen=True)
class Track:
    """A person passing a camera: what the images of one passage share."""

    person: Person
    camera: Camera
    pose: Pose
    place_x: float  # column of the panorama at the first image
    depth: float  # shifts the ground row
    exposure: float


def begin_track(person: Person, camera_number: int, dice: Dice) -> Track:
    """Draw how `person` passes camera `camera_number`: direction, gait, place and light."""
    seen_by = camera(camera_number)
    direction = dice.weighted({0.0: 3.0, 3.1416: 3.0, 1.5708: 2.0, -1.5708: 2.0})
    pose = Pose(
        yaw=direction + dice.bell(0.0, 0.3),
        phase=dice.between(0.0, 6.2832),
        stride=person.stride if dice.chance(0.85) else 0.06,
        arms=dice.weighted({"swing": 7.0, "phone": 1.0, "pockets": 1.0, "carry": 0.8}),
        head_turn=dice.bell(0.0, 0.25),
    )
    return Track(
        person=person,
        camera=seen_by,
        pose=pose,
        place_x=dice.between(0, PANORAMA[1] - 2 * _W),
        depth=dice.between(-0.06, 0.06),
        exposure=dice.bell(1.0, 0.06),
    )


def draw_crop(
    track: Track, step: int, dice: Dice, passer_by: Callable[[], Person]
) -> NDArray[np.uint8]:
    """Draw image `step` of a passage: uint8 RGB [128, 64, 3].

    `passer_by` names the stranger who walks beside, in front or behind now and then.
    """
    seen_by = track.camera
    canvas = _background(track, step, dice)
    pose = replace(
        track.pose,
        yaw=track.pose.yaw + dice.bell(0.0, 0.1),
        phase=track.pose.phase + step * 1.9 + dice.between(-0.4, 0.4),
        head_turn=track.pose.head_turn + dice.bell(0.0, 0.15),
    )
    scale = _H * seen_by.fill * dice.bell(1.0, 0.025)
    stand = Stand(
        x=_W / 2 + dice.bell(0.0, 4.0),
        ground=_H * 0.5 + scale * 0.5 * dice.bell(1.0, 0.012) + dice.bell(0.0, 2.0),
        scale=scale,
        pitch=seen_by.pitch,
        roll=seen_by.roll,
    )
    place_of_other = dice.weighted({"none": 0.86, "behind": 0.09, "before": 0.05})
    other_side = dice.choice((-1, 1))
    if place_of_other == "behind":
        _pass_by(canvas, passer_by(), stand, dice, other_side * dice.between(0.26, 0.42), 0.86)
    draw_figure(Body(canvas, track.person, pose, stand))
    if place_of_other == "before":
        _pass_by(canvas, passer_by(), stand, dice, other_side * dice.between(0.34, 0.44), 1.06)
    return develop(_occlude(canvas, dice), seen_by, track.exposure, dice)


def draw_junk(track: Track, dice: Dice) -> NDArray[np.uint8]:
    """Draw a useless detection: a part of a person, cut or far off: uint8 RGB [128, 64, 3]."""
    canvas = _background(track, 0, dice)
    kind = dice.choice(("legs", "head", "aside", "far"))
    scale = _H * {"legs": 1.9, "head": 2.2, "aside": 1.0, "far": 0.45}[kind] * dice.bell(1, 0.06)
    stand = Stand(
        x=_W / 2 + (dice.choice((-1, 1)) * dice.between(48, 64) if kind == "aside" else 0.0),
        ground={"legs": _H * 0.95, "head": scale * 1.03, "aside": _H * 0.97, "far": _H * 0.72}[
            kind
        ],
        scale=scale,
        pitch=track.camera.pitch,
        roll=track.camera.roll,
    )
    draw_figure(Body(canvas, track.person, track.pose, stand))
    return develop(canvas.finish(), track.camera, track.exposure, dice)


def draw_distractor(track: Track, dice: Dice) -> NDArray[np.uint8]:
    """Draw a detection without a person, or with the edge of one: uint8 RGB [128, 64, 3]."""
    canvas = _background(track, 0, dice)
    if dice.chance(0.3):
        side = dice.choice((-1, 1))
        stand = Stand(_W / 2 + side * 70.0, _H * 0.97, _H * 0.9, track.camera.pitch, 0.0)
        draw_figure(Body(canvas, track.person, track.pose, stand))
    picture = canvas.finish()
    for _ in range(dice.integer(0, 2)):
        parked_bike(
            picture, dice, dice.integer(0, _W), dice.integer(150, _H), dice.integer(70, 110)
        )
    return develop(picture, track.camera, track.exposure, dice)


def develop(picture: Image, seen_by: Camera, exposure: float, dice: Dice) -> NDArray[np.uint8]:
    """Turn the drawn picture [256, 128, 3] into what the camera records: uint8 [128, 64, 3]."""
    sharp = np.asarray(cv2.GaussianBlur(picture, (0, 0), _lens_blur(seen_by, dice)), np.uint8)
    if dice.chance(0.2):
        sharp = _moved(sharp, dice.choice((2, 3)))
    # The mean of four pixels, in integers.
    small = cv2.resize(sharp, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    detail = seen_by.detail * dice.between(0.85, 1.0)
    if detail < 0.8:
        size = (round(WIDTH * detail), round(HEIGHT * detail))
        small = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR_EXACT)
        small = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR_EXACT)
    values = small.astype(np.float32)
    grey = (values[..., 0] + values[..., 1] * 2 + values[..., 2])[..., None] / np.float32(4)
    coloured = grey + (values - grey) * np.float32(seen_by.saturation)
    exposed = clip(coloured * np.float32(exposure) + np.float32(0.5), 0, 255).astype(np.uint8)
    recorded = np.asarray(cv2.LUT(exposed, seen_by.response[None]), np.float32)
    four = dice.bytes(4, HEIGHT, WIDTH, 3).astype(np.int32).sum(axis=0) - 510  # about normal
    noise = np.float32(seen_by.noise / 148) * four.astype(np.float32)
    return clip(recorded + noise + np.float32(0.5), 0, 255).astype(np.uint8)


def _lens_blur(seen_by: Camera, dice: Dice) -> float:
    """Return the Gaussian's sigma at the drawing's resolution."""
    return max(0.5, 2 * seen_by.blur * dice.between(0.7, 1.3))


def _moved(picture: Image, pixels: int) -> Image:
    """Return the picture blurred by a sideways movement."""
    shifted = picture.copy()
    shifted[:, pixels:] = picture[:, :-pixels]
    return ((picture.astype(np.uint16) + shifted + 1) // 2).astype(np.uint8)


def _background(track: Track, step: int, dice: Dice) -> Canvas:
    """Return a canvas with the part of the place that lies behind the person at this step."""
    seen_by, panorama = track.camera, place(track.camera.number)
    zoom = dice.between(0.9, 1.15)
    height, width = int(_H * zoom), int(_W * zoom)
    travel = 26.0 * step * (1 if track.pose.yaw > 0 else -1)
    x = int(track.place_x + travel + dice.between(-8, 8)) % (PANORAMA[1] - width)
    y = int(HORIZON - (seen_by.horizon + track.depth) * height + dice.between(-6, 6))
    y = min(max(0, y), PANORAMA[0] - height)
    window = np.ascontiguousarray(panorama[y : y + height, x : x + width])
    behind = cv2.resize(window, (_W, _H), interpolation=cv2.INTER_LINEAR_EXACT)
    soft = np.asarray(cv2.GaussianBlur(behind, (0, 0), 1.8), np.uint8)  # out of focus
    return Canvas(soft, seen_by.light, _folds(dice))


def _pass_by(
    canvas: Canvas, person: Person, stand: Stand, dice: Dice, offset: float, size: float
) -> None:
    """Draw a second person beside the first; `offset` in shares of the body height."""
    pose = Pose(dice.between(-3.1, 3.1), dice.between(0, 6.28), person.stride, "swing", 0.0)
    ground = stand.ground + (4.0 if size > 1 else -6.0)
    beside = replace(
        stand, x=stand.x + offset * stand.scale, ground=ground, scale=stand.scale * size
    )
    draw_figure(Body(canvas, person, pose, beside))


def _occlude(canvas: Canvas, dice: Dice) -> Image:
    """Put something in front of the person now and then; return the finished picture."""
    kind = dice.weighted({"none": 0.87, "pole": 0.04, "bike": 0.05, "car": 0.04})
    if kind == "pole":
        x, half = _W / 2 + dice.choice((-1, 1)) * dice.between(14, 50), dice.between(4, 8)
        grey = plain((dice.between(70, 170),) * 3)
        canvas.column(0, np.full(_H, x, np.float32), np.full(_H, half, np.float32), grey)
    elif kind == "car":
        _car(canvas, dice)
    picture = canvas.finish()
    if kind == "bike":
        size = dice.integer(66, 92)
        parked_bike(picture, dice, dice.integer(0, _W), _H - dice.integer(0, 16), size)
    return picture


def _car(canvas: Canvas, dice: Dice) -> None:
    """Paint the front of a car across the lower part of the picture."""
    top = int(dice.between(0.72, 0.84) * _H)
    below = np.arange(_H + 8 - top, dtype=np.float32)
    halves = np.minimum(np.float32(_W * 0.75), 56 + below * 6)
    centres = np.full_like(halves, _W / 2 + dice.choice((-0.4, 0.4)) * _W)
    lacquer = np.array(
        dice.choice(((200, 202, 206), (60, 64, 70), (124, 44, 44), (96, 110, 140))), np.float32
    )

    def paint(angle: Array, along: Array) -> Array:
        light = np.float32(1.1) - np.float32(0.4) * along
        light = light * (1 - np.float32(0.75) * bump(along, 0.62, 9.0))  # the grille
        return np.asarray(lacquer * light[..., None], np.float32)

    canvas.column(top, centres, halves, paint, shadow=0.3, lean=-0.5)


@lru_cache(maxsize=1)
def _fold_field() -> Array:
    """Return cloth folds [512, 512]: soft slanted creases, about -1..1."""
    dice = Dice(Stream.FOLDS)
    total = np.zeros((512, 512), np.float32)
    for across, down, weight in ((3, 9, 1.0), (7, 4, 0.7), (14, 18, 0.8)):
        layer = cv2.GaussianBlur(dice.bytes(512, 512), (0, 0), across, sigmaY=down)
        layer = layer.astype(np.float32) - np.float32(127.5)
        total += np.float32(weight) * layer / np.abs(layer).max()
    return total


def _folds(dice: Dice) -> Array:
    y, x = dice.integer(0, 512 - _H), dice.integer(0, 512 - _W)
    return _fold_field()[y : y + _H, x : x + _W]
