"""Neck, head, face, hair and hat."""

import math

import numpy as np

from lookalike.data.rendering.appearance import Person
from lookalike.data.rendering.body import Body, Station
from lookalike.data.rendering.canvas import Array, Paint, bump, clip, plain, wrap


def draw_neck(body: Body) -> None:
    """Paint the neck."""
    stoop, lift = body.person.stoop, body.lift
    low, high = (0.0, 0.84 + lift, stoop * 0.8), (0.0, 0.885 + lift, stoop * 1.1)
    body.limb(low, high, (0.033, 0.03), plain(body.person.skin))


def draw_head(body: Body) -> None:
    """Paint head, face, the hair on it, and the hat."""
    person = body.person
    hair = 0.0 if person.hair_style == "bald" else 0.005
    top, height, forward = 0.997 + body.lift + hair, 0.14 + hair, person.stoop * 1.2 + 0.012
    stations: list[Station] = []
    for step in range(13):
        share = step / 12
        round_ = math.sqrt(max(0.0, 1 - (2 * share - 1) ** 2))
        jaw = 1.0 if share < 0.55 else 1 - 0.28 * (share - 0.55) / 0.45
        side, front = (0.051 + hair) * round_ * jaw, (0.062 + hair) * round_ * jaw
        stations.append((top - share * height, side, front, forward))
    body.solid(stations, _face_paint(person), turn=-body.pose.head_turn, shadow=0.35, lean=-0.15)
    if person.hat != "none":
        _hat(body, top, forward)


def draw_hair_behind(body: Body) -> None:
    """Paint hair that hangs behind the head, if the person has any."""
    person, lift = body.person, body.lift
    length = {"long": 0.75, "bob": 0.835, "tail": 0.79}.get(person.hair_style)
    if length is None:
        return
    back = person.stoop - 0.028
    width = 0.028 if person.hair_style == "tail" else 0.06
    start = 0.93 if person.hair_style == "tail" else 0.955
    body.solid(
        [
            (start + lift, width * 0.8, 0.035, back),
            ((start + length) / 2 + lift, width, 0.036, back - 0.012),
            (length + lift + 0.03, width * 0.95, 0.034, back - 0.02),
            (length + lift, width * 0.55, 0.02, back - 0.02),
        ],
        plain(person.hair),
        folds=0.2,
        shadow=0.15,
    )


def _face_paint(person: Person) -> Paint:
    """Return the head's paint: face in front, hair elsewhere."""
    skin, hair = np.array(person.skin, np.float32), np.array(person.hair, np.float32)
    hairline = np.float32(0.72 if person.hair_style == "short" else 0.9)  # at the back of the head

    def paint(angle: Array, along: Array) -> Array:
        turned = np.abs(wrap(angle))
        face = clip((np.float32(1.25) - turned) * 5, 0, 1)
        face = face * clip((along - np.float32(0.26)) * 14, 0, 1)
        nape = clip((along - hairline) * 12, 0, 1)
        bare = np.ones_like(face) if person.hair_style == "bald" else np.maximum(face, nape)
        features = (
            bump(turned, 0.42, 5.0) * bump(along, 0.5, 18.0) * np.float32(0.55),  # eyes
            bump(turned, 0.4, 2.8) * bump(along, 0.43, 22.0) * np.float32(0.4),  # brows
            bump(turned, 0.0, 3.5) * bump(along, 0.8, 22.0) * np.float32(0.35),  # mouth
            bump(turned, 0.12, 6.0) * bump(along, 0.64, 9.0) * np.float32(0.18),  # nose
        )
        light = 1 - np.maximum.reduce(features)[..., None]
        return np.asarray(hair + bare[..., None] * (skin * light - hair), np.float32)

    return paint


def _hat(body: Body, top: float, forward: float) -> None:
    paint, brim = plain(body.person.hat_colour), top - 0.05
    body.solid(
        [
            (top + 0.012, 0.02, 0.024, forward),
            (top + 0.002, 0.044, 0.054, forward),
            (top - 0.025, 0.058, 0.069, forward),
            (top - 0.052, 0.06, 0.071, forward),
        ],
        paint,
        folds=0.05,
    )
    if body.person.hat == "cap":
        start, end = (0.0, brim, forward + 0.06), (0.0, brim - 0.004, forward + 0.105)
        body.limb(start, end, (0.026, 0.02), paint, shadow=0.2)
    elif body.person.hat == "brim":
        start, end = (-0.06, brim, forward), (0.06, brim, forward)
        body.limb(start, end, (0.016, 0.016), paint, shadow=0.25)
