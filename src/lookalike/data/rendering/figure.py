"""How a person is drawn: shadow, limbs, clothes, bag and head, the far parts first."""

import numpy as np

from lookalike.data.rendering.bags import draw_backpack, draw_hand_bag, draw_side_bag, draw_straps
from lookalike.data.rendering.body import Body, mix
from lookalike.data.rendering.canvas import Array, Paint, clip, plain, wrap
from lookalike.data.rendering.head import draw_hair_behind, draw_head, draw_neck


def draw_figure(body: Body) -> None:
    """Paint a person on the body's canvas."""
    person, in_profile = body.person, abs(body.sideways) > 0.35
    pack_behind = body.facing >= -0.1
    _ground_shadow(body)
    if person.bag == "backpack" and pack_behind:
        draw_backpack(body)
    far, near = sorted((-1, 1), key=lambda side: body.depth((side * 0.1, 0.8, 0)))
    if in_profile:
        _arm(body, far)
    if body.facing > 0:
        draw_hair_behind(body)
    legs = sorted((-1, 1), key=lambda side: body.depth(body.leg(side)[2]))
    for side in legs:
        _leg(body, side, shadow=0.3 if side == legs[1] else 0.0)
    if person.lower_kind == "skirt":
        _skirt(body)
    else:
        _pelvis(body)
    draw_neck(body)
    _trunk(body)
    draw_straps(body)
    for side in (near,) if in_profile else (far, near):
        _arm(body, side)
    if person.bag == "shoulder":
        draw_side_bag(body)
    draw_head(body)
    if body.facing <= 0:
        draw_hair_behind(body)
    if person.bag == "backpack" and not pack_behind:
        draw_backpack(body)


def _ground_shadow(body: Body) -> None:
    stand, scale = body.stand, body.stand.scale
    body.canvas.darken(stand.x, stand.ground - 2, scale * 0.2, scale * 0.035, 0.5)
    for side in (-1, 1):
        x, _ = body.project(body.leg(side)[2])
        body.canvas.darken(x, stand.ground, scale * 0.08, scale * 0.018, 0.4)


def _leg(body: Body, side: int, shadow: float) -> None:
    person, wide = body.person, body.wide
    hip, knee, ankle = body.leg(side)
    toe = (ankle[0] + side * 0.012, max(0.018, ankle[1] - 0.03), ankle[2] + 0.085)
    heel = (ankle[0], max(0.02, ankle[1] - 0.022), ankle[2] - 0.02)
    body.limb(heel, toe, (0.023, 0.018), plain(person.shoes), shadow=shadow)
    cloth = person.lower.paint
    if person.lower_kind == "trousers":
        end = mix(knee, ankle, min(1.0, (0.265 - person.lower_end) / 0.225 + 0.1))
        radii = (0.043 * wide, 0.034 * person.lower_width)
        body.limb(knee, end, radii, cloth, folds=0.24, shadow=shadow, cut=True)
        body.limb(hip, knee, (0.066 * wide, 0.047 * wide), cloth, folds=0.18, shadow=shadow)
        return
    skin = plain(person.stockings or person.skin)
    body.limb(knee, ankle, (0.034 * wide, 0.02), skin, folds=0.03, shadow=shadow)
    body.limb(hip, knee, (0.055 * wide, 0.035 * wide), skin, folds=0.03, shadow=shadow)
    if person.lower_kind == "shorts":
        end = mix(hip, knee, min(1.0, (0.5 - person.lower_end) / 0.235))
        radii = (0.066 * wide, 0.06 * person.lower_width * wide)
        body.limb(hip, end, radii, cloth, folds=0.2, shadow=shadow, cut=True)


def _pelvis(body: Body) -> None:
    hips, wide = body.person.hips * body.wide, body.wide
    body.solid(
        [
            (0.58, hips * 0.95, 0.075 * wide, 0.0),
            (0.5, hips * 1.16, 0.085 * wide, 0.0),
            (0.455, hips * 1.1, 0.075 * wide, 0.0),
        ],
        body.person.lower.paint,
        folds=0.14,
    )


def _skirt(body: Body) -> None:
    person, wide = body.person, body.wide
    hips, flare = person.hips * wide, person.lower_width
    hem_depth = (0.085 * flare + body.pose.stride * 0.1) * wide
    body.solid(
        [
            (0.58, hips * 0.95, 0.072 * wide, 0.0),
            (0.5, hips * 1.18, 0.088 * wide, 0.0),
            (person.lower_end, hips * 1.15 * flare, hem_depth, 0.0),
        ],
        person.lower.paint,
        folds=0.24,
        shadow=0.35,
    )


def _trunk(body: Body) -> None:
    person, wide, lift = body.person, body.wide, body.lift
    side, stoop, cloth = person.shoulders * wide, person.stoop, 1 + person.looseness
    depth = wide * cloth
    waist = max(side * 0.8, person.hips * 1.15 * wide) * cloth
    hem = max(side * 0.8, person.hips * 1.2 * wide) * cloth
    body.solid(
        [
            (0.862 + lift, 0.034, 0.04, stoop * 0.9),
            (0.846 + lift, side * 0.42, 0.052, stoop * 0.85),
            (0.828 + lift, side * 0.76, 0.066 * wide, stoop * 0.8),
            (0.802 + lift, side * 0.97, 0.08 * wide, stoop * 0.7),
            (0.73 + lift, side * 0.93 * cloth, 0.09 * depth, stoop * 0.4),
            (0.61 + lift, side * 0.8 * cloth, 0.082 * depth, stoop * 0.1),
            (0.52 + lift, waist, 0.09 * depth, 0.0),
            (person.hem + lift, hem, 0.09 * depth, 0.0),
        ],
        _upper_paint(body),
        folds=0.22,
        shadow=0.25,
    )


def _upper_paint(body: Body) -> Paint:
    """Return the upper garment's paint, open in front where there is an inner garment."""
    upper, inner = body.person.upper, body.person.inner
    if inner is None:
        return upper.paint
    shown = np.array(inner, np.float32)

    def paint(angle: Array, along: Array) -> Array:
        outer = upper.paint(angle, along)
        gap = clip((np.float32(0.34) - np.abs(wrap(angle))) * 8, 0, 1)[..., None]
        return np.asarray(outer + gap * (shown - outer), np.float32)

    return paint


def _arm(body: Body, side: int) -> None:
    person, wide = body.person, body.wide
    shoulder, elbow, wrist = body.arm(side)
    hand, skin, loose = mix(elbow, wrist, 1.18), plain(person.skin), 0.03 * person.looseness
    if person.bag == "hand" and side == person.bag_side:
        draw_hand_bag(body, hand)
    body.limb(wrist, hand, (0.017, 0.015), skin)
    # Bare parts only where no sleeve will lie over them.
    if person.sleeve < 0.9:
        body.limb(elbow, wrist, (0.023 * wide, 0.017), skin, shadow=0.3)
    if person.sleeve < 0.5:
        body.limb(shoulder, elbow, (0.03 * wide, 0.024 * wide), skin, shadow=0.3)
    sleeve = _sleeve_paint(body)
    if person.sleeve > 0.5:
        end = mix(elbow, wrist, (person.sleeve - 0.5) / 0.5)
        radii = (0.027 * wide + loose, 0.022 + loose)
        body.limb(elbow, end, radii, sleeve, folds=0.24, shadow=0.3, cut=True)
    if person.sleeve > 0.1:
        end = mix(shoulder, elbow, min(1.0, person.sleeve / 0.5))
        radii = (0.034 * wide + loose, 0.029 * wide + loose)
        short = person.sleeve < 0.5
        body.limb(shoulder, end, radii, sleeve, folds=0.2, shadow=0.4, cut=short)


def _sleeve_paint(body: Body) -> Paint:
    """Return the sleeves' paint: they carry stripes and checks, no prints."""
    cloth = body.person.upper
    if cloth.pattern in ("rows", "checks", "dots", "columns"):
        return lambda angle, along: cloth.paint(angle, along * np.float32(0.5))
    return plain(cloth.second if cloth.pattern == "yoke" else cloth.colour)
