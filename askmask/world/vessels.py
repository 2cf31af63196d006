"""Builders of what is turned and hollow: mugs, glasses, bottles, pots and the like. Sizes are metres."""

from __future__ import annotations

import numpy as np

from askmask.world.categories import Stream, category, cylinder, globe, turned
from askmask.world.shapes import (
    Collider,
    Interior,
    Shape,
    Visual,
    lathe,
    ring_handle,
    tube,
    vessel,
    wall,
)


@category("mug", "ceramic", poses="upright upright lying upside_down", traits="vessel drink small")
def _mug(rng: Stream) -> Shape:
    r, h = rng.uniform(0.036, 0.048), rng.uniform(0.08, 0.115)
    body = vessel("body", [(r * 0.92, 0), (r, h * 0.12), (r, h)], 0.005, 0.007)
    rim = lathe("rim", [(r - 0.006, h), (r + 0.0012, h), (r + 0.0012, h + 0.003), (r - 0.006, h + 0.003)])
    handle = ring_handle("handle", r * 0.96, h * 0.52, r * 0.72, h * 0.56, 0.0065)
    return turned(
        [body, rim, handle],
        (cylinder(r, h),),
        r,
        h,
        0.3,
        rolling=0.0012,
        interior=Interior((r - 0.006, r - 0.006), 0.008, h),
        shell=(cylinder(r, 0.007), *wall(r, 0.0, h, 0.005, 12)),
    )


@category("glass", "glass", poses="upright upright lying upside_down", traits="vessel drink tall small")
def _glass(rng: Stream) -> Shape:
    r, h = rng.uniform(0.03, 0.04), rng.uniform(0.1, 0.15)
    base = r * rng.uniform(0.75, 0.95)
    body = vessel("body", [(base, 0), (r, h)], 0.0035, 0.008)
    return turned(
        [body],
        (cylinder((r + base) / 2, h),),
        r,
        h,
        0.2,
        rolling=0.0012,
        interior=Interior((r - 0.005, r - 0.005), 0.009, h),
        shell=(cylinder(base, 0.007), *wall(base, 0.0, h, 0.004, 12, r)),
    )


@category("bottle", "glass plastic", poses="upright upright lying", traits="tall")
def _bottle(rng: Stream) -> Shape:
    r, h = rng.uniform(0.028, 0.04), rng.uniform(0.2, 0.28)
    neck = r * 0.38
    body = lathe(
        "body",
        [
            (0, 0),
            (r, 0),
            (r, h * 0.56),
            (r * 0.85, h * 0.64),
            (neck, h * 0.74),
            (neck, h * 0.93),
            (0, h * 0.93),
        ],
    )
    label = lathe(
        "label", [(0, h * 0.18), (r * 1.015, h * 0.18), (r * 1.015, h * 0.46), (0, h * 0.46)], "white"
    )
    cap = lathe("cap", [(0, h * 0.93), (neck * 1.15, h * 0.93), (neck * 1.15, h), (0, h)], "dark")
    solid = (cylinder(r, h * 0.62), cylinder(neck, h * 0.38, h * 0.62))
    return turned([body, label, cap], solid, r, h, 0.6, rolling=0.0012)


@category("can", "metal", poses="upright upright lying", traits="tall small")
def _can(rng: Stream) -> Shape:
    r, h = rng.uniform(0.03, 0.04), rng.uniform(0.1, 0.135)
    body = lathe("body", [(0, h * 0.05), (r, h * 0.05), (r, h * 0.94), (0, h * 0.94)])
    base = lathe("base", [(0, 0), (r * 0.9, 0), (r * 0.99, h * 0.05), (0, h * 0.05)], "steel")
    top = lathe("top", [(0, h * 0.94), (r * 0.99, h * 0.94), (r * 0.9, h), (0, h)], "steel")
    return turned([body, base, top], (cylinder(r, h),), r, h, 0.35, rolling=0.0012)


@category("vase", "ceramic", poses="upright upright upright lying", traits="vessel tall")
def _vase(rng: Stream) -> Shape:
    r, h = rng.uniform(0.042, 0.058), rng.uniform(0.16, 0.23)
    base, neck = r * rng.uniform(0.55, 0.75), r * rng.uniform(0.45, 0.6)
    outer = [
        (base, 0),
        (r * 0.92, h * 0.2),
        (r, h * 0.38),
        (r * 0.85, h * 0.58),
        (neck, h * 0.78),
        (neck * 1.05, h * 0.9),
        (neck * 1.35, h),
    ]
    body = vessel("body", outer, 0.005, 0.01)
    solid = (
        cylinder(base, h * 0.06),
        cylinder(r * 0.96, h * 0.56, h * 0.06),
        cylinder(neck * 1.1, h * 0.38, h * 0.62),
    )
    inside = neck - 0.006
    shell = (
        cylinder(base, 0.01),
        *wall(base, 0.0, h * 0.38, 0.006, 12, r),
        *wall(r, h * 0.38, h * 0.78, 0.006, 12, neck),
        *wall(neck, h * 0.76, h, 0.005, 12, neck * 1.3),
    )
    return turned(
        [body], solid, r, h, 0.7, rolling=0.0015, interior=Interior((inside, inside), 0.011, h), shell=shell
    )


@category("bowl", "ceramic wood", poses="upright upright upright upside_down", traits="vessel holder")
def _bowl(rng: Stream) -> Shape:
    r, h = rng.uniform(0.065, 0.095), rng.uniform(0.05, 0.07)
    foot = r * 0.5
    body = vessel("body", [(foot, 0), (r * 0.78, h * 0.35), (r * 0.94, h * 0.72), (r, h)], 0.005, 0.01)
    rim = lathe("rim", [(r - 0.006, h), (r + 0.001, h), (r + 0.001, h + 0.003), (r - 0.006, h + 0.003)])
    parts = (
        cylinder(foot, 0.01),
        *wall(foot * 1.05, 0.0, h * 0.45, 0.006, 8, r * 0.84),
        *wall(r * 0.84, h * 0.42, h, 0.006, 8, r),
    )
    return turned([body, rim], parts, r, h, 0.4, interior=Interior((r * 0.85, r * 0.85), 0.011, h))


@category(
    "pot", "metal ceramic", poses="upright upright upright upright upside_down", traits="vessel holder hot"
)
def _pot(rng: Stream) -> Shape:
    r, h = rng.uniform(0.075, 0.1), rng.uniform(0.085, 0.125)
    lidded = bool(rng.random() < 0.4)
    body = vessel("body", [(r * 0.96, 0), (r, 0.01), (r, h)], 0.006, 0.008)
    grips = [_mirrored_handle("handle", r * 0.97, h * 0.72, sign, r * 0.3) for sign in (1, -1)]
    visuals = [body, _joined("handle", grips, "dark")]
    colliders = [cylinder(r * 0.98, 0.008), *wall(r, 0.0, h, 0.007, 10)]
    if lidded:
        visuals += [
            lathe("lid", [(0, h), (r * 1.03, h), (r * 1.03, h + 0.006), (r * 0.6, h + 0.02), (0, h + 0.024)]),
            lathe(
                "knob",
                [(0, h + 0.022), (0.008, h + 0.022), (0.014, h + 0.036), (0.01, h + 0.044), (0, h + 0.046)],
                "dark",
            ),
        ]
        colliders += [cylinder(r * 1.02, 0.02, h), cylinder(0.012, 0.024, h + 0.02)]
    tall = h + 0.046 if lidded else h
    return turned(
        visuals,
        tuple(colliders),
        r,
        tall,
        1.1,
        interior=Interior((r - 0.01, r - 0.01), 0.009, h),
        lidded=lidded,
    )


def _mirrored_handle(part: str, x: float, z: float, sign: int, reach: float) -> Visual:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 7)
    path = [(sign * (x + reach * float(np.cos(a))), 0.0, z + 0.012 * float(np.sin(a))) for a in angle]
    return tube(part, path, 0.007, "dark", 6)


def _joined(part: str, pieces: list[Visual], paint: str) -> Visual:
    starts = np.cumsum([0, *[len(p.vertices) for p in pieces]])
    faces = np.concatenate([p.faces + start for p, start in zip(pieces, starts, strict=False)])
    return Visual(part, paint, np.concatenate([p.vertices for p in pieces]), faces)


@category("pan", "metal", traits="vessel hot holder", colours="black grey red blue green")
def _pan(rng: Stream) -> Shape:
    r, h = rng.uniform(0.085, 0.11), rng.uniform(0.035, 0.05)
    body = vessel("body", [(r * 0.84, 0), (r, h)], 0.005, 0.006)
    long = rng.uniform(0.11, 0.15)
    handle = tube(
        "handle",
        [(r * 0.95, 0, h * 0.75), (r + long * 0.3, 0, h * 1.0), (r + long, 0, h * 1.15)],
        0.0105,
        "dark",
    )
    grip = Collider("box", (long / 2, 0.009, 0.009), (r + long / 2, 0.0, h * 0.95))
    parts = (cylinder(r * 0.84, 0.006), *wall(r * 0.84, 0.0, h, 0.006, 10, r), grip)
    return turned([body, handle], parts, r, h, 0.9, interior=Interior((r * 0.85, r * 0.85), 0.007, h))


@category("teapot", "ceramic metal", traits="vessel")
def _teapot(rng: Stream) -> Shape:
    r, h = rng.uniform(0.058, 0.075), rng.uniform(0.085, 0.11)
    body = vessel(
        "body",
        [(r * 0.6, 0), (r * 0.95, h * 0.28), (r, h * 0.48), (r * 0.82, h * 0.8), (r * 0.5, h)],
        0.005,
        0.008,
    )
    spout = tube("spout", [(r * 0.85, 0, h * 0.35), (r * 1.25, 0, h * 0.5), (r * 1.55, 0, h * 0.9)], 0.011)
    handle = ring_handle("handle", r * 0.9, h * 0.52, r * 0.6, h * 0.62, 0.007)
    handle = Visual("handle", "body", handle.vertices * [-1, 1, 1], handle.faces[:, ::-1])
    lidded = bool(rng.random() < 0.6)
    visuals = [body, spout, handle]
    colliders = [
        cylinder(r * 0.62, h * 0.1),
        cylinder(r * 0.97, h * 0.66, h * 0.1),
        cylinder(r * 0.66, h * 0.24, h * 0.76),
    ]
    if lidded:
        visuals.append(lathe("lid", [(0, h), (r * 0.54, h), (r * 0.4, h + 0.012), (0, h + 0.016)]))
        visuals.append(globe("knob", 0.009, 0.009, h + 0.022, "dark", 6))
        colliders.append(cylinder(r * 0.5, 0.015, h))
    inside = r * 0.5 - 0.006
    shell = (
        cylinder(r * 0.6, 0.008),
        *wall(r * 0.62, 0.0, h * 0.45, 0.006, 12, r),
        *wall(r, h * 0.42, h, 0.006, 12, r * 0.5),
    )
    if lidded:
        shell = (*shell, cylinder(r * 0.5, 0.015, h))
    tall = h + 0.031 if lidded else h
    interior = Interior((inside, inside), 0.009, h)
    return turned(visuals, tuple(colliders), r, tall, 0.8, interior=interior, shell=shell, lidded=lidded)


@category("jar", "glass", poses="upright upright lying", traits="vessel small")
def _jar(rng: Stream) -> Shape:
    r, h = rng.uniform(0.036, 0.048), rng.uniform(0.09, 0.125)
    lidded = bool(rng.random() < 0.5)
    body = vessel(
        "body", [(r * 0.94, 0), (r, h * 0.08), (r, h * 0.78), (r * 0.8, h * 0.88), (r * 0.8, h)], 0.004, 0.007
    )
    visuals, colliders = [body], [cylinder(r, h * 0.84), cylinder(r * 0.8, h * 0.16, h * 0.84)]
    shell = [
        cylinder(r, 0.007),
        *wall(r, 0.0, h * 0.8, 0.005, 12),
        *wall(r, h * 0.78, h * 0.88, 0.005, 12, r * 0.8),
        *wall(r * 0.8, h * 0.86, h, 0.004, 12),
    ]
    tall = h
    if lidded:
        tall = h + 0.014
        visuals.append(lathe("lid", [(0, h), (r * 0.88, h), (r * 0.88, tall), (0, tall)], "accent"))
        colliders.append(cylinder(r * 0.88, 0.014, h))
        shell.append(cylinder(r * 0.88, 0.014, h))
    inside = r * 0.8 - 0.006
    interior = Interior((inside, inside), 0.008, h)
    return turned(
        visuals,
        tuple(colliders),
        r,
        tall,
        0.35,
        rolling=0.0012,
        interior=interior,
        shell=tuple(shell),
        lidded=lidded,
    )


@category("bucket", "plastic metal", traits="floor vessel")
def _bucket(rng: Stream) -> Shape:
    r, h = rng.uniform(0.12, 0.15), rng.uniform(0.22, 0.3)
    body = vessel("body", [(r * 0.75, 0), (r, h)], 0.006, 0.01)
    parts = (cylinder(r * 0.75, 0.01), *wall(r * 0.75, 0.0, h, 0.008, 10, r))
    return turned([body], parts, r, h, 0.8, interior=Interior((r * 0.74, r * 0.74), 0.011, h))
