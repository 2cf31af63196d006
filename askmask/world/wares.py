"""Builders of everything else: plates and boards, books and boxes, round, soft and thin things. Metres."""

from __future__ import annotations

import numpy as np

from askmask.world.categories import Stream, category, cylinder, globe, turned
from askmask.world.shapes import (
    Collider,
    Interior,
    Shape,
    Visual,
    about_z,
    block,
    lathe,
    tube,
    wall,
)

_TO_X = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # turns z onto x (a knob on a front)


@category("plate", "ceramic", traits="flat base")
def _plate(rng: Stream) -> Shape:
    r = rng.uniform(0.09, 0.125)
    well = r * 0.68
    body = lathe("body", [(0, 0), (well, 0), (r, 0.014), (r, 0.018), (well, 0.006), (0, 0.006)], sides=28)
    parts = (cylinder(well, 0.006), *wall(well, 0.0, 0.017, 0.006, 10, r))
    return turned([body], parts, r, 0.018, 0.5)


@category("tray", "metal plastic wood", traits="flat base holder")
def _tray(rng: Stream) -> Shape:
    x, y, t, up = rng.uniform(0.14, 0.19), rng.uniform(0.1, 0.14), 0.008, 0.026
    floor = block("body", (x, y, t / 2), (0, 0, t / 2))
    edge = 0.008
    sides = [((x, edge / 2, (up - t) / 2), (0.0, s * (y - edge / 2), (up + t) / 2)) for s in (1, -1)] + [
        ((edge / 2, y, (up - t) / 2), (s * (x - edge / 2), 0.0, (up + t) / 2)) for s in (1, -1)
    ]
    visuals = [floor, *(block("rim", half, at) for half, at in sides)]
    colliders = (
        Collider("box", (x, y, t / 2), (0, 0, t / 2)),
        *(Collider("box", half, at) for half, at in sides),
    )
    return Shape(tuple(visuals), colliders, (2 * x, 2 * y, up), 0.7)


@category("trivet", "metal wood", traits="flat base hot_base")
def _trivet(rng: Stream) -> Shape:
    r, t = rng.uniform(0.07, 0.095), 0.014
    ring = lathe("rim", [(r * 0.8, 0), (r, 0), (r, t), (r * 0.8, t), (r * 0.8, 0)], sides=28)
    bars = [
        block("spokes", (r * 0.84, 0.007, t / 2 - 0.0008), (0, 0, t / 2), "body", about_z(np.pi * k / 3))
        for k in range(3)
    ]
    return turned([ring, *bars], (cylinder(r, t),), r, t, 0.5)


@category("board", "wood stone", traits="flat base", colours="brown grey white yellow orange")
def _board(rng: Stream) -> Shape:
    x, y, t = rng.uniform(0.12, 0.17), rng.uniform(0.085, 0.12), rng.uniform(0.014, 0.022)
    grip = 0.022
    visuals = (
        block("body", (x, y, t / 2), (0, 0, t / 2)),
        block("handle", (grip, 0.022, t / 2), (x + grip, 0, t / 2)),
    )
    colliders = tuple(Collider("box", v.box[0], v.box[1]) for v in visuals if v.box)
    return Shape(visuals, colliders, (2 * x + 2 * grip, 2 * y, t), 0.9)


@category("book", "paper", traits="flat stackable")
def _book(rng: Stream) -> Shape:
    x, y, t = rng.uniform(0.065, 0.09), rng.uniform(0.09, 0.125), rng.uniform(0.018, 0.042)
    c = 0.0035
    visuals = (
        block("cover", (x, y, c / 2), (0, 0, c / 2)),
        block("pages", (x - 0.004, y - 0.004, t / 2 - c), (0.002, 0, t / 2), "paper"),
        block("cover", (x, y, c / 2), (0, 0, t - c / 2)),
        block("spine", (c / 2, y, t / 2), (-x + c / 2, 0, t / 2)),
    )
    return Shape(visuals, (Collider("box", (x, y, t / 2), (0, 0, t / 2)),), (2 * x, 2 * y, t), 0.5)


@category("box", "paper wood plastic", traits="stackable block")
def _box(rng: Stream) -> Shape:
    x, y, z = rng.uniform(0.035, 0.06), rng.uniform(0.035, 0.06), rng.uniform(0.03, 0.06)
    return Shape(
        (block("body", (x, y, z), (0, 0, z)),),
        (Collider("box", (x, y, z), (0, 0, z)),),
        (2 * x, 2 * y, 2 * z),
        0.4,
    )


@category("plank", "wood", traits="flat beam", colours="brown yellow orange red grey")
def _plank(rng: Stream) -> Shape:
    x, y, z = rng.uniform(0.14, 0.2), rng.uniform(0.035, 0.05), rng.uniform(0.006, 0.01)
    return Shape(
        (block("body", (x, y, z), (0, 0, z)),),
        (Collider("box", (x, y, z), (0, 0, z)),),
        (2 * x, 2 * y, 2 * z),
        0.35,
    )


@category("shelf", "wood plastic", traits="base bridge")
def _shelf(rng: Stream) -> Shape:
    x, y, h, t = rng.uniform(0.11, 0.15), rng.uniform(0.06, 0.08), rng.uniform(0.09, 0.13), 0.014
    leg = 0.008
    boxes = [("top", (x, y, t / 2), (0.0, 0.0, h - t / 2))]
    boxes += [("legs", (leg, y, (h - t) / 2), (s * (x - leg), 0.0, (h - t) / 2)) for s in (1, -1)]
    return Shape(
        tuple(block(*box) for box in boxes),
        tuple(Collider("box", b[1], b[2]) for b in boxes),
        (2 * x, 2 * y, h),
        0.7,
    )


@category("ball", "plastic", traits="round small")
def _ball(rng: Stream) -> Shape:
    r = rng.uniform(0.028, 0.048)
    return turned(
        [globe("body", r, r, r)], (Collider("sphere", (r,), (0, 0, r)),), r, 2 * r, 0.15, rolling=0.0012
    )


@category("apple", "fruit", traits="round small food", colours="red green yellow")
def _apple(rng: Stream) -> Shape:
    r = rng.uniform(0.03, 0.038)
    tall = 1.85 * r
    body = lathe(
        "body",
        [
            (0, 0.05 * r),
            (0.45 * r, 0),
            (0.9 * r, 0.45 * r),
            (r, r),
            (0.85 * r, 1.55 * r),
            (0.45 * r, tall),
            (0, 1.65 * r),
        ],
    )
    stem = tube("stem", [(0, 0, 1.6 * r), (0.02 * r, 0, 1.95 * r), (0.15 * r, 0, 2.3 * r)], 0.0028, "bark", 5)
    return turned(
        [body, stem],
        (Collider("ellipsoid", (r, r, tall / 2), (0, 0, tall / 2)),),
        r,
        tall,
        0.18,
        rolling=0.002,
    )


@category("cushion", "fabric", traits="soft base")
def _cushion(rng: Stream) -> Shape:
    r, h = rng.uniform(0.09, 0.12), rng.uniform(0.05, 0.07)
    body = lathe(
        "body",
        [
            (0, 0.004),
            (r * 0.6, 0),
            (r * 0.95, h * 0.3),
            (r, h * 0.5),
            (r * 0.92, h * 0.72),
            (r * 0.55, h * 0.96),
            (0, h),
        ],
    )
    parts = (cylinder(r * 0.9, h * 0.6, h * 0.1), Collider("ellipsoid", (r, r, h / 2), (0, 0, h / 2)))
    return turned([body], parts, r, h, 0.3, friction=0.95)


@category("candle", "wax", poses="upright upright upright lying", traits="tall small")
def _candle(rng: Stream) -> Shape:
    r, h = rng.uniform(0.016, 0.026), rng.uniform(0.09, 0.16)
    body = lathe("body", [(0, 0), (r, 0), (r, h), (0, h - 0.004)])
    wick = tube("wick", [(0, 0, h - 0.005), (0.001, 0, h + 0.004), (0.002, 0, h + 0.012)], 0.0022, "dark", 5)
    return turned([body, wick], (cylinder(r, h),), r, h, 0.2, rolling=0.0012)


@category("knife", "metal", traits="cutlery thin", colours="black brown red blue yellow green white")
def _knife(rng: Stream) -> Shape:
    long = rng.uniform(0.09, 0.12)
    visuals = (
        block("handle", (long * 0.42, 0.0105, 0.008), (-long * 0.58, 0, 0.008)),
        block("blade", (long * 0.58, 0.0125, 0.0022), (long * 0.42, 0, 0.008), "steel"),
    )
    colliders = (
        Collider("box", (long * 0.42, 0.0105, 0.008), (-long * 0.58, 0, 0.008)),
        Collider("box", (long * 0.58, 0.0125, 0.008), (long * 0.42, 0, 0.008)),
    )
    return Shape(visuals, colliders, (2 * long, 0.025, 0.016), 0.12)


@category("spoon", "metal wood plastic", traits="cutlery thin")
def _spoon(rng: Stream) -> Shape:
    long = rng.uniform(0.08, 0.105)
    bowl = lathe(
        "bowl", [(0, 0.002), (0.012, 0.002), (0.021, 0.012), (0.019, 0.013), (0.01, 0.006), (0, 0.005)]
    )
    head = Visual("head", "body", bowl.vertices * [1.35, 1.0, 1.0] + [long * 0.78, 0, 0], bowl.faces)
    handle = block("handle", (long * 0.8, 0.0065, 0.004), (-long * 0.2, 0, 0.009))
    colliders = (
        Collider("box", (long * 0.8, 0.007, 0.0065), (-long * 0.2, 0, 0.0065)),
        Collider("cylinder", (0.022, 0.0065), (long * 0.78, 0, 0.0065)),
    )
    return Shape((head, handle), colliders, (2.05 * long, 0.042, 0.013), 0.08)


@category("hotplate", "metal", traits="flat base hot_base", colours="black white grey red")
def _hotplate(rng: Stream) -> Shape:
    x, h = rng.uniform(0.1, 0.12), rng.uniform(0.045, 0.06)
    r = x * 0.78
    visuals = (
        block("body", (x, x, h / 2), (0, 0, h / 2)),
        lathe("ring", [(0, h), (r, h), (r, h + 0.006), (0, h + 0.006)], "iron", 24),
        lathe("knob", [(0, 0), (0.011, 0), (0.011, 0.014), (0, 0.014)], "steel", 10),
    )
    knob = visuals[2]
    turned = Visual("knob", "steel", (knob.vertices @ _TO_X.T) + [x, 0, h / 2], knob.faces)
    colliders = (Collider("box", (x, x, h / 2), (0, 0, h / 2)), cylinder(r, 0.006, h))
    return Shape((*visuals[:2], turned), colliders, (2 * x, 2 * x, h + 0.006), 1.6)


@category("cloth", "fabric", traits="flat thin soft")
def _cloth(rng: Stream) -> Shape:
    x, y, t = rng.uniform(0.08, 0.13), rng.uniform(0.07, 0.11), 0.006
    visuals = [block("body", (x, y, t / 2), (0, 0, t / 2))]
    visuals += [
        block("stripe", (0.007, y * 1.002, t / 2 + 0.0006), (s * x * 0.7, 0, t / 2 + 0.0004), "accent")
        for s in (1, -1)
    ]
    return Shape(
        tuple(visuals),
        (Collider("box", (x, y, t / 2), (0, 0, t / 2)),),
        (2 * x, 2 * y, t),
        0.08,
        friction=0.95,
    )


@category("crate", "wood plastic", traits="holder")
def _crate(rng: Stream) -> Shape:
    x, y, h, t = rng.uniform(0.085, 0.12), rng.uniform(0.075, 0.1), rng.uniform(0.06, 0.09), 0.008
    boxes = [("body", (x, y, t / 2), (0.0, 0.0, t / 2))]
    boxes += [("sides", (x, t / 2, (h - t) / 2), (0.0, s * (y - t / 2), (h + t) / 2)) for s in (1, -1)]
    boxes += [("sides", (t / 2, y - t, (h - t) / 2), (s * (x - t / 2), 0.0, (h + t) / 2)) for s in (1, -1)]
    colliders = tuple(Collider("box", b[1], b[2]) for b in boxes)
    interior = Interior((x - 2 * t, y - 2 * t), t, h, round=False)
    return Shape(tuple(block(*b) for b in boxes), colliders, (2 * x, 2 * y, h), 0.5, interior=interior)


@category("stool", "wood plastic", traits="floor base")
def _stool(rng: Stream) -> Shape:
    r, h = rng.uniform(0.13, 0.16), rng.uniform(0.38, 0.48)
    visuals = [lathe("seat", [(0, h - 0.03), (r, h - 0.03), (r, h), (0, h)])]
    colliders = [cylinder(r, 0.03, h - 0.03)]
    for k in range(4):
        a = np.pi / 4 + k * np.pi / 2
        at = (float(r * 0.75 * np.cos(a)), float(r * 0.75 * np.sin(a)), (h - 0.03) / 2)
        visuals.append(block("legs", (0.013, 0.013, (h - 0.03) / 2), at))
        colliders.append(Collider("box", (0.013, 0.013, (h - 0.03) / 2), at))
    return Shape(tuple(visuals), tuple(colliders), (2 * r, 2 * r, h), 2.5)
