"""A walking skeleton, turned and projected into the picture, that solids are painted around."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lookalike.data.rendering.appearance import Person
from lookalike.data.rendering.canvas import Canvas, Paint

Point = tuple[float, float, float]  # right, up, forward; in body heights, from the ground
Station = tuple[float, float, float, float]  # up, half width, half depth, forward


@dataclass(frozen=True)
class Pose:
    """The body at one moment; angles in radians."""

    yaw: float  # 0 faces the camera, +pi/2 walks to the picture's right
    phase: float  # of the step
    stride: float  # amplitude of the thighs
    arms: Literal["swing", "phone", "pockets", "carry"]
    head_turn: float


@dataclass(frozen=True)
class Stand:
    """Where the body stands in the picture and how the camera sees it."""

    x: float  # pixels
    ground: float  # y of the feet, pixels
    scale: float  # pixels per body height
    pitch: float  # the camera looks down by this angle, radians
    roll: float  # shear, x per y


class Body:
    """One person in one pose: joints in body heights, and solids painted around them."""

    def __init__(self, canvas: Canvas, person: Person, pose: Pose, stand: Stand) -> None:
        self.canvas, self.person, self.pose, self.stand = canvas, person, pose, stand
        self.facing = steady(math.cos(pose.yaw))  # 1 towards the camera, -1 away from it
        self.sideways = steady(math.sin(pose.yaw))  # 1 to the picture's right
        self.wide = person.build / person.height
        # The hips rise and sink twice in a step.
        self.lift = 0.018 * steady(math.cos(2 * pose.phase)) * (pose.stride > 0.15)
        self._cos_pitch = steady(math.cos(stand.pitch))
        self._sin_pitch = steady(math.sin(stand.pitch))

    def depth(self, point: Point) -> float:
        """Return how far a point is in front of the body's axis, towards the camera."""
        return point[2] * self.facing - point[0] * self.sideways

    def project(self, point: Point) -> tuple[float, float]:
        """Return the pixel (x, y) of a point."""
        stand = self.stand
        across = point[0] * self.facing + point[2] * self.sideways
        up = point[1] * self._cos_pitch - self.depth(point) * self._sin_pitch
        across *= 1 + stand.pitch * 0.5 * (up - 0.5)  # from above, the head is nearer than the feet
        x = stand.x + stand.scale * (across + stand.roll * (up - 0.5))
        return x, stand.ground - stand.scale * up

    def limb(
        self,
        start: Point,
        end: Point,
        radii: tuple[float, float],
        paint: Paint,
        *,
        folds: float = 0.0,
        shadow: float = 0.0,
        cut: bool = False,
    ) -> None:
        """Paint a tapered limb between two points; see `Canvas.capsule`."""
        self.canvas.capsule(
            self.project(start),
            self.project(end),
            (self._pixels(radii[0], start[1]), self._pixels(radii[1], end[1])),
            paint,
            turn=-self.pose.yaw,
            folds=folds,
            shadow=shadow,
            cut=cut,
        )

    def solid(
        self,
        stations: list[Station],
        paint: Paint,
        *,
        x: float = 0.0,
        turn: float = 0.0,
        folds: float = 0.0,
        shadow: float = 0.0,
        lean: float = -0.1,
    ) -> None:
        """Paint an upright solid with elliptic sections, given from top to bottom."""
        points = [self.project((x, up, forward)) for up, _, _, forward in stations]
        halves = [
            self._pixels(math.sqrt((side * self.facing) ** 2 + (front * self.sideways) ** 2), up)
            for up, side, front, _ in stations
        ]
        top, bottom = points[0][1], points[-1][1]
        rows = np.arange(int(top), max(int(bottom), int(top) + 2)) + 0.5
        ys = [y for _, y in points]
        self.canvas.column(
            top,
            np.interp(rows, ys, [x for x, _ in points]).astype(np.float32),
            np.interp(rows, ys, halves).astype(np.float32),
            paint,
            turn=turn - self.pose.yaw,
            folds=folds,
            shadow=shadow,
            lean=lean,
        )

    def leg(self, side: int) -> tuple[Point, Point, Point]:
        """Return hip, knee and ankle of the left (-1) or right (+1) leg."""
        pose = self.pose
        phase = pose.phase + (0.0 if side > 0 else math.pi)
        thigh = pose.stride * steady(math.sin(phase)) + 0.05
        bend = 0.08 + 1.7 * pose.stride * max(0.0, steady(math.cos(phase))) * (thigh > -0.3)
        hip = (side * self.person.hips * 0.6, 0.5 + self.lift, 0.0)
        knee = _swing(hip, 0.235, thigh)
        return hip, knee, _swing(knee, 0.225, thigh - bend)

    def arm(self, side: int) -> tuple[Point, Point, Point]:
        """Return shoulder, elbow and wrist of the left (-1) or right (+1) arm."""
        person, pose = self.person, self.pose
        swing = -0.9 * pose.stride * steady(math.sin(pose.phase + (0.0 if side > 0 else math.pi)))
        busy = side == person.bag_side
        bend, out = 0.25 + max(0.0, swing) * 0.6, 0.02
        if pose.arms == "phone" and busy:
            swing, bend, out = 0.45, 1.9, 0.0
        elif pose.arms == "pockets":
            swing, bend, out = -0.25, 0.7, 0.05
        elif pose.arms == "carry" and busy:
            swing, bend, out = 0.1, 1.45, 0.0
        elif person.bag == "hand" and busy:
            swing, bend = swing * 0.3, 0.1
        x = side * person.shoulders * self.wide * 0.9
        shoulder = (x, 0.79 + self.lift, person.stoop * 0.7)
        elbow = _swing(shoulder, 0.165, swing)
        elbow = (elbow[0] + side * (out + 0.012 * person.looseness), elbow[1], elbow[2])
        wrist = _swing(elbow, 0.145, swing + bend)
        return shoulder, elbow, (wrist[0] - side * 0.012, wrist[1], wrist[2])

    def _pixels(self, size: float, up: float) -> float:
        return self.stand.scale * size * (1 + self.stand.pitch * 0.5 * (up - 0.5))


def mix(a: Point, b: Point, share: float) -> Point:
    """Return the point at `share` of the way from `a` to `b`."""
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def steady(value: float) -> float:
    """Round a sine or cosine, whose last bit differs between machines, to 2^-24."""
    return round(value * 2**24) / 2**24


def _swing(start: Point, length: float, angle: float) -> Point:
    """Return the end of a bone that hangs from `start`, swung forward by `angle`."""
    down, forward = steady(math.cos(angle)), steady(math.sin(angle))
    return start[0], start[1] - length * down, start[2] + length * forward
