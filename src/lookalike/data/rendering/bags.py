"""What people carry: backpacks, shoulder bags, hand bags."""

import numpy as np

from lookalike.data.rendering.body import Body, Point
from lookalike.data.rendering.canvas import Array, bump, plain


def draw_backpack(body: Body) -> None:
    """Paint a backpack behind the trunk."""
    size, stoop = body.person.bag_size, body.person.stoop
    base = np.array(body.person.bag_colour, np.float32)

    def paint(angle: Array, along: Array) -> Array:
        seams = bump(along, 0.52, 30.0) * np.float32(0.5) + bump(along, 0.3, 40.0) * np.float32(0.3)
        return np.asarray(base * (1 - seams)[..., None], np.float32)

    body.solid(
        [
            (0.835, 0.05 * size, 0.03 * size, stoop - 0.12),
            (0.81, 0.085 * size, 0.052 * size, stoop - 0.125),
            (0.7, 0.098 * size, 0.066 * size, stoop - 0.13),
            (0.835 - 0.27 * size, 0.098 * size, 0.066 * size, -0.125),
            (0.825 - 0.3 * size, 0.08 * size, 0.05 * size, -0.12),
        ],
        paint,
        folds=0.1,
        shadow=0.35,
    )


def draw_straps(body: Body) -> None:
    """Paint the straps of a backpack or of a shoulder bag over the trunk."""
    person, wide = body.person, body.wide
    paint, front = plain(person.bag_colour), 0.088 * wide * (1 + person.looseness)
    if person.bag == "backpack" and body.facing > -0.3:
        for side in (-1, 1):
            if body.depth((side * 0.06, 0.0, front)) > 0.01:
                x, z = side * person.shoulders * wide * 0.55, front * 0.9 + person.stoop * 0.5
                start, end = (x, 0.835, z * 0.5), (x * 1.05, 0.67, z)
                body.limb(start, end, (0.011, 0.01), paint, shadow=0.2)
    elif person.bag == "shoulder":
        x = person.bag_side * person.shoulders * wide
        z = front if body.facing > 0 else -front
        start, end = (-x * 0.6, 0.835, z * 0.4), (x * 0.9, 0.56, z)
        body.limb(start, end, (0.009, 0.009), paint, shadow=0.2)


def draw_side_bag(body: Body) -> None:
    """Paint a shoulder bag at the hip, unless the body hides it."""
    person, size = body.person, body.person.bag_size
    x = person.bag_side * (person.hips * 1.2 * body.wide + 0.03)
    if body.depth((x, 0.0, 0.0)) < -0.07:
        return
    body.solid(
        [
            (0.56, 0.03 * size, 0.075 * size, 0.0),
            (0.55, 0.036 * size, 0.085 * size, 0.0),
            (0.56 - 0.12 * size, 0.038 * size, 0.088 * size, 0.0),
            (0.55 - 0.13 * size, 0.03 * size, 0.075 * size, 0.0),
        ],
        plain(person.bag_colour),
        x=x,
        folds=0.08,
        shadow=0.3,
    )


def draw_hand_bag(body: Body, hand: Point) -> None:
    """Paint a bag that hangs from a hand."""
    size, paint = body.person.bag_size, plain(body.person.bag_colour)
    x, top, z = hand[0], hand[1] - 0.05, hand[2]
    body.limb(hand, (x, top, z), (0.008, 0.012), paint)
    body.solid(
        [
            (top, 0.02 * size, 0.07 * size, z),
            (top - 0.015, 0.028 * size, 0.085 * size, z),
            (top - 0.13 * size, 0.032 * size, 0.09 * size, z),
            (top - 0.145 * size, 0.022 * size, 0.08 * size, z),
        ],
        paint,
        x=x,
        folds=0.06,
        shadow=0.25,
    )
