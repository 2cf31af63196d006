"""The parts box: a builder of each category's form from a random stream, and what kind of thing it is.

Sizes are metres. A category never decides a physical fact; its traits only choose layouts and words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from askmask.world.shapes import (
    Collider,
    Interior,
    Shape,
    Visual,
    about_x,
    about_y,
    about_z,
    block,
    lathe,
    multiply,
    ring_handle,
    tube,
    vessel,
    wall,
)

Stream = np.random.Generator
_TO_X = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # turns z onto x (a knob on a front)


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of thing: its builder, materials it comes in, poses it may take, and traits for layouts and words."""

    name: str
    build: Callable[[Stream], Shape]
    materials: tuple[str, ...]
    poses: tuple[str, ...] = ("upright",)
    traits: frozenset[str] = frozenset()
    colours: tuple[str, ...] = ()  # empty: any colour


CATEGORIES: dict[str, Category] = {}


def _category(name: str, materials: str, *, poses: str = "upright", traits: str = "", colours: str = ""):
    def register(build: Callable[[Stream], Shape]) -> Callable[[Stream], Shape]:
        CATEGORIES[name] = Category(
            name,
            build,
            tuple(materials.split()),
            tuple(poses.split()),
            frozenset(traits.split()),
            tuple(colours.split()),
        )
        return build

    return register


def _turned(visuals: list[Visual], solid: tuple[Collider, ...], radius: float, tall: float, mass: float, **more):
    wide = max(float(np.ptp(np.concatenate([v.vertices for v in visuals])[:, k])) for k in (0, 1))
    return Shape(tuple(visuals), solid, (max(wide, 2 * radius), 2 * radius, tall), mass, **more)


def _cylinder(radius: float, tall: float, low: float = 0.0) -> Collider:
    return Collider("cylinder", (radius, tall / 2), (0.0, 0.0, low + tall / 2))


@_category("mug", "ceramic", poses="upright upright lying upside_down", traits="vessel drink small")
def _mug(rng: Stream) -> Shape:
    r, h = rng.uniform(0.036, 0.048), rng.uniform(0.08, 0.115)
    body = vessel("body", [(r * 0.92, 0), (r, h * 0.12), (r, h)], 0.005, 0.007)
    rim = lathe("rim", [(r - 0.006, h), (r + 0.0012, h), (r + 0.0012, h + 0.003), (r - 0.006, h + 0.003)])
    handle = ring_handle("handle", r * 0.96, h * 0.52, r * 0.72, h * 0.56, 0.0065)
    return _turned(
        [body, rim, handle],
        (_cylinder(r, h),),
        r,
        h,
        0.3,
        rolling=0.0012,
        interior=Interior((r - 0.006, r - 0.006), 0.008, h),
        shell=(_cylinder(r, 0.007), *wall(r, 0.0, h, 0.005, 12)),
    )


@_category("glass", "glass", poses="upright upright lying upside_down", traits="vessel drink tall small")
def _glass(rng: Stream) -> Shape:
    r, h = rng.uniform(0.03, 0.04), rng.uniform(0.1, 0.15)
    base = r * rng.uniform(0.75, 0.95)
    body = vessel("body", [(base, 0), (r, h)], 0.0035, 0.008)
    return _turned(
        [body],
        (_cylinder((r + base) / 2, h),),
        r,
        h,
        0.2,
        rolling=0.0012,
        interior=Interior((r - 0.005, r - 0.005), 0.009, h),
        shell=(_cylinder(base, 0.007), *wall(base, 0.0, h, 0.004, 12, r)),
    )


@_category("bottle", "glass plastic", poses="upright upright lying", traits="tall")
def _bottle(rng: Stream) -> Shape:
    r, h = rng.uniform(0.028, 0.04), rng.uniform(0.2, 0.28)
    neck = r * 0.38
    body = lathe("body", [(0, 0), (r, 0), (r, h * 0.56), (r * 0.85, h * 0.64), (neck, h * 0.74), (neck, h * 0.93), (0, h * 0.93)])
    label = lathe("label", [(0, h * 0.18), (r * 1.015, h * 0.18), (r * 1.015, h * 0.46), (0, h * 0.46)], "white")
    cap = lathe("cap", [(0, h * 0.93), (neck * 1.15, h * 0.93), (neck * 1.15, h), (0, h)], "dark")
    solid = (_cylinder(r, h * 0.62), _cylinder(neck, h * 0.38, h * 0.62))
    return _turned([body, label, cap], solid, r, h, 0.6, rolling=0.0012)


@_category("can", "metal", poses="upright upright lying", traits="tall small")
def _can(rng: Stream) -> Shape:
    r, h = rng.uniform(0.03, 0.04), rng.uniform(0.1, 0.135)
    body = lathe("body", [(0, h * 0.05), (r, h * 0.05), (r, h * 0.94), (0, h * 0.94)])
    base = lathe("base", [(0, 0), (r * 0.9, 0), (r * 0.99, h * 0.05), (0, h * 0.05)], "steel")
    top = lathe("top", [(0, h * 0.94), (r * 0.99, h * 0.94), (r * 0.9, h), (0, h)], "steel")
    return _turned([body, base, top], (_cylinder(r, h),), r, h, 0.35, rolling=0.0012)


@_category("vase", "ceramic", poses="upright upright upright lying", traits="vessel tall")
def _vase(rng: Stream) -> Shape:
    r, h = rng.uniform(0.042, 0.058), rng.uniform(0.16, 0.23)
    base, neck = r * rng.uniform(0.55, 0.75), r * rng.uniform(0.45, 0.6)
    outer = [(base, 0), (r * 0.92, h * 0.2), (r, h * 0.38), (r * 0.85, h * 0.58), (neck, h * 0.78), (neck * 1.05, h * 0.9), (neck * 1.35, h)]
    body = vessel("body", outer, 0.005, 0.01)
    solid = (_cylinder(base, h * 0.06), _cylinder(r * 0.96, h * 0.56, h * 0.06), _cylinder(neck * 1.1, h * 0.38, h * 0.62))
    inside = neck - 0.006
    shell = (
        _cylinder(base, 0.01),
        *wall(base, 0.0, h * 0.38, 0.006, 12, r),
        *wall(r, h * 0.38, h * 0.78, 0.006, 12, neck),
        *wall(neck, h * 0.76, h, 0.005, 12, neck * 1.3),
    )
    return _turned([body], solid, r, h, 0.7, rolling=0.0015, interior=Interior((inside, inside), 0.011, h), shell=shell)


@_category("bowl", "ceramic wood", poses="upright upright upright upside_down", traits="vessel holder")
def _bowl(rng: Stream) -> Shape:
    r, h = rng.uniform(0.065, 0.095), rng.uniform(0.05, 0.07)
    foot = r * 0.5
    body = vessel("body", [(foot, 0), (r * 0.78, h * 0.35), (r * 0.94, h * 0.72), (r, h)], 0.005, 0.01)
    rim = lathe("rim", [(r - 0.006, h), (r + 0.001, h), (r + 0.001, h + 0.003), (r - 0.006, h + 0.003)])
    parts = (_cylinder(foot, 0.01), *wall(foot * 1.05, 0.0, h * 0.45, 0.006, 8, r * 0.84), *wall(r * 0.84, h * 0.42, h, 0.006, 8, r))
    return _turned([body, rim], parts, r, h, 0.4, interior=Interior((r * 0.85, r * 0.85), 0.011, h))


@_category("pot", "metal ceramic", poses="upright upright upright upright upside_down", traits="vessel holder hot")
def _pot(rng: Stream) -> Shape:
    r, h = rng.uniform(0.075, 0.1), rng.uniform(0.085, 0.125)
    lidded = bool(rng.random() < 0.4)
    body = vessel("body", [(r * 0.96, 0), (r, 0.01), (r, h)], 0.006, 0.008)
    grips = [
        _mirrored_handle("handle", r * 0.97, h * 0.72, sign, r * 0.3) for sign in (1, -1)
    ]
    visuals = [body, _joined("handle", grips, "dark")]
    colliders = [_cylinder(r * 0.98, 0.008), *wall(r, 0.0, h, 0.007, 10)]
    if lidded:
        visuals += [
            lathe("lid", [(0, h), (r * 1.03, h), (r * 1.03, h + 0.006), (r * 0.6, h + 0.02), (0, h + 0.024)]),
            lathe("knob", [(0, h + 0.022), (0.008, h + 0.022), (0.014, h + 0.036), (0.01, h + 0.044), (0, h + 0.046)], "dark"),
        ]
        colliders += [_cylinder(r * 1.02, 0.02, h), _cylinder(0.012, 0.024, h + 0.02)]
    tall = h + 0.046 if lidded else h
    return _turned(visuals, tuple(colliders), r, tall, 1.1, interior=Interior((r - 0.01, r - 0.01), 0.009, h), lidded=lidded)


def _mirrored_handle(part: str, x: float, z: float, sign: int, reach: float) -> Visual:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 7)
    path = [(sign * (x + reach * float(np.cos(a))), 0.0, z + 0.012 * float(np.sin(a))) for a in angle]
    return tube(part, path, 0.007, "dark", 6)


def _joined(part: str, pieces: list[Visual], paint: str) -> Visual:
    starts = np.cumsum([0, *[len(p.vertices) for p in pieces]])
    faces = np.concatenate([p.faces + start for p, start in zip(pieces, starts, strict=False)])
    return Visual(part, paint, np.concatenate([p.vertices for p in pieces]), faces)


@_category("pan", "metal", traits="vessel hot holder", colours="black grey red blue green")
def _pan(rng: Stream) -> Shape:
    r, h = rng.uniform(0.085, 0.11), rng.uniform(0.035, 0.05)
    body = vessel("body", [(r * 0.84, 0), (r, h)], 0.005, 0.006)
    long = rng.uniform(0.11, 0.15)
    handle = tube("handle", [(r * 0.95, 0, h * 0.75), (r + long * 0.3, 0, h * 1.0), (r + long, 0, h * 1.15)], 0.0105, "dark")
    grip = Collider("box", (long / 2, 0.009, 0.009), (r + long / 2, 0.0, h * 0.95))
    parts = (_cylinder(r * 0.84, 0.006), *wall(r * 0.84, 0.0, h, 0.006, 10, r), grip)
    return _turned([body, handle], parts, r, h, 0.9, interior=Interior((r * 0.85, r * 0.85), 0.007, h))


@_category("plate", "ceramic", traits="flat base")
def _plate(rng: Stream) -> Shape:
    r = rng.uniform(0.09, 0.125)
    well = r * 0.68
    body = lathe("body", [(0, 0), (well, 0), (r, 0.014), (r, 0.018), (well, 0.006), (0, 0.006)], sides=28)
    parts = (_cylinder(well, 0.006), *wall(well, 0.0, 0.017, 0.006, 10, r))
    return _turned([body], parts, r, 0.018, 0.5)


@_category("tray", "metal plastic wood", traits="flat base holder")
def _tray(rng: Stream) -> Shape:
    x, y, t, up = rng.uniform(0.14, 0.19), rng.uniform(0.1, 0.14), 0.008, 0.026
    floor = block("body", (x, y, t / 2), (0, 0, t / 2))
    edge = 0.008
    sides = [
        ((x, edge / 2, (up - t) / 2), (0.0, s * (y - edge / 2), (up + t) / 2)) for s in (1, -1)
    ] + [((edge / 2, y, (up - t) / 2), (s * (x - edge / 2), 0.0, (up + t) / 2)) for s in (1, -1)]
    visuals = [floor, *(block("rim", half, at) for half, at in sides)]
    colliders = (Collider("box", (x, y, t / 2), (0, 0, t / 2)), *(Collider("box", half, at) for half, at in sides))
    return Shape(tuple(visuals), colliders, (2 * x, 2 * y, up), 0.7)


@_category("trivet", "metal wood", traits="flat base hot_base")
def _trivet(rng: Stream) -> Shape:
    r, t = rng.uniform(0.07, 0.095), 0.014
    ring = lathe("rim", [(r * 0.8, 0), (r, 0), (r, t), (r * 0.8, t), (r * 0.8, 0)], sides=28)
    bars = [
        block("spokes", (r * 0.84, 0.007, t / 2 - 0.0008), (0, 0, t / 2), "body", about_z(np.pi * k / 3)) for k in range(3)
    ]
    return _turned([ring, *bars], (_cylinder(r, t),), r, t, 0.5)


@_category("board", "wood stone", traits="flat base", colours="brown grey white yellow orange")
def _board(rng: Stream) -> Shape:
    x, y, t = rng.uniform(0.12, 0.17), rng.uniform(0.085, 0.12), rng.uniform(0.014, 0.022)
    grip = 0.022
    visuals = (block("body", (x, y, t / 2), (0, 0, t / 2)), block("handle", (grip, 0.022, t / 2), (x + grip, 0, t / 2)))
    colliders = tuple(Collider("box", v.box[0], v.box[1]) for v in visuals if v.box)
    return Shape(visuals, colliders, (2 * x + 2 * grip, 2 * y, t), 0.9)


@_category("book", "paper", traits="flat stackable")
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


@_category("box", "paper wood plastic", traits="stackable block")
def _box(rng: Stream) -> Shape:
    x, y, z = rng.uniform(0.035, 0.06), rng.uniform(0.035, 0.06), rng.uniform(0.03, 0.06)
    return Shape(
        (block("body", (x, y, z), (0, 0, z)),), (Collider("box", (x, y, z), (0, 0, z)),), (2 * x, 2 * y, 2 * z), 0.4
    )


@_category("plank", "wood", traits="flat beam", colours="brown yellow orange red grey")
def _plank(rng: Stream) -> Shape:
    x, y, z = rng.uniform(0.14, 0.2), rng.uniform(0.035, 0.05), rng.uniform(0.006, 0.01)
    return Shape(
        (block("body", (x, y, z), (0, 0, z)),), (Collider("box", (x, y, z), (0, 0, z)),), (2 * x, 2 * y, 2 * z), 0.35
    )


@_category("shelf", "wood plastic", traits="base bridge")
def _shelf(rng: Stream) -> Shape:
    x, y, h, t = rng.uniform(0.11, 0.15), rng.uniform(0.06, 0.08), rng.uniform(0.09, 0.13), 0.014
    leg = 0.008
    boxes = [("top", (x, y, t / 2), (0.0, 0.0, h - t / 2))]
    boxes += [("legs", (leg, y, (h - t) / 2), (s * (x - leg), 0.0, (h - t) / 2)) for s in (1, -1)]
    return Shape(
        tuple(block(*box) for box in boxes), tuple(Collider("box", b[1], b[2]) for b in boxes), (2 * x, 2 * y, h), 0.7
    )


@_category("ball", "plastic", traits="round small")
def _ball(rng: Stream) -> Shape:
    r = rng.uniform(0.028, 0.048)
    return _turned([_globe("body", r, r, r)], (Collider("sphere", (r,), (0, 0, r)),), r, 2 * r, 0.15, rolling=0.0012)


def _globe(part: str, radius: float, half: float, centre: float, paint: str = "body", rings: int = 9) -> Visual:
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings)
    profile = [(max(radius * float(np.cos(a)), 0.0), centre + half * float(np.sin(a))) for a in angle]
    profile[0], profile[-1] = (0.0, centre - half), (0.0, centre + half)
    return lathe(part, profile, paint)


@_category("apple", "fruit", traits="round small food", colours="red green yellow")
def _apple(rng: Stream) -> Shape:
    r = rng.uniform(0.03, 0.038)
    tall = 1.85 * r
    body = lathe("body", [(0, 0.05 * r), (0.45 * r, 0), (0.9 * r, 0.45 * r), (r, r), (0.85 * r, 1.55 * r), (0.45 * r, tall), (0, 1.65 * r)])
    stem = tube("stem", [(0, 0, 1.6 * r), (0.02 * r, 0, 1.95 * r), (0.15 * r, 0, 2.3 * r)], 0.0028, "bark", 5)
    return _turned([body, stem], (Collider("ellipsoid", (r, r, tall / 2), (0, 0, tall / 2)),), r, tall, 0.18, rolling=0.002)


@_category("cushion", "fabric", traits="soft base")
def _cushion(rng: Stream) -> Shape:
    r, h = rng.uniform(0.09, 0.12), rng.uniform(0.05, 0.07)
    body = lathe("body", [(0, 0.004), (r * 0.6, 0), (r * 0.95, h * 0.3), (r, h * 0.5), (r * 0.92, h * 0.72), (r * 0.55, h * 0.96), (0, h)])
    parts = (_cylinder(r * 0.9, h * 0.6, h * 0.1), Collider("ellipsoid", (r, r, h / 2), (0, 0, h / 2)))
    return _turned([body], parts, r, h, 0.3, friction=0.95)


@_category("candle", "wax", poses="upright upright upright lying", traits="tall small")
def _candle(rng: Stream) -> Shape:
    r, h = rng.uniform(0.016, 0.026), rng.uniform(0.09, 0.16)
    body = lathe("body", [(0, 0), (r, 0), (r, h), (0, h - 0.004)])
    wick = tube("wick", [(0, 0, h - 0.005), (0.001, 0, h + 0.004), (0.002, 0, h + 0.012)], 0.0022, "dark", 5)
    return _turned([body, wick], (_cylinder(r, h),), r, h, 0.2, rolling=0.0012)


@_category("knife", "metal", traits="cutlery thin", colours="black brown red blue yellow green white")
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


@_category("spoon", "metal wood plastic", traits="cutlery thin")
def _spoon(rng: Stream) -> Shape:
    long = rng.uniform(0.08, 0.105)
    bowl = lathe("bowl", [(0, 0.002), (0.012, 0.002), (0.021, 0.012), (0.019, 0.013), (0.01, 0.006), (0, 0.005)])
    head = Visual("head", "body", bowl.vertices * [1.35, 1.0, 1.0] + [long * 0.78, 0, 0], bowl.faces)
    handle = block("handle", (long * 0.8, 0.0065, 0.004), (-long * 0.2, 0, 0.009))
    colliders = (
        Collider("box", (long * 0.8, 0.007, 0.0065), (-long * 0.2, 0, 0.0065)),
        Collider("cylinder", (0.022, 0.0065), (long * 0.78, 0, 0.0065)),
    )
    return Shape((head, handle), colliders, (2.05 * long, 0.042, 0.013), 0.08)


@_category("teapot", "ceramic metal", traits="vessel")
def _teapot(rng: Stream) -> Shape:
    r, h = rng.uniform(0.058, 0.075), rng.uniform(0.085, 0.11)
    body = vessel("body", [(r * 0.6, 0), (r * 0.95, h * 0.28), (r, h * 0.48), (r * 0.82, h * 0.8), (r * 0.5, h)], 0.005, 0.008)
    spout = tube("spout", [(r * 0.85, 0, h * 0.35), (r * 1.25, 0, h * 0.5), (r * 1.55, 0, h * 0.9)], 0.011)
    handle = ring_handle("handle", r * 0.9, h * 0.52, r * 0.6, h * 0.62, 0.007)
    handle = Visual("handle", "body", handle.vertices * [-1, 1, 1], handle.faces[:, ::-1])
    lidded = bool(rng.random() < 0.6)
    visuals = [body, spout, handle]
    colliders = [_cylinder(r * 0.62, h * 0.1), _cylinder(r * 0.97, h * 0.66, h * 0.1), _cylinder(r * 0.66, h * 0.24, h * 0.76)]
    if lidded:
        visuals.append(lathe("lid", [(0, h), (r * 0.54, h), (r * 0.4, h + 0.012), (0, h + 0.016)]))
        visuals.append(_globe("knob", 0.009, 0.009, h + 0.022, "dark", 6))
        colliders.append(_cylinder(r * 0.5, 0.015, h))
    inside = r * 0.5 - 0.006
    shell = (_cylinder(r * 0.6, 0.008), *wall(r * 0.62, 0.0, h * 0.45, 0.006, 12, r), *wall(r, h * 0.42, h, 0.006, 12, r * 0.5))
    if lidded:
        shell = (*shell, _cylinder(r * 0.5, 0.015, h))
    tall = h + 0.031 if lidded else h
    interior = Interior((inside, inside), 0.009, h)
    return _turned(visuals, tuple(colliders), r, tall, 0.8, interior=interior, shell=shell, lidded=lidded)


@_category("jar", "glass", poses="upright upright lying", traits="vessel small")
def _jar(rng: Stream) -> Shape:
    r, h = rng.uniform(0.036, 0.048), rng.uniform(0.09, 0.125)
    lidded = bool(rng.random() < 0.5)
    body = vessel("body", [(r * 0.94, 0), (r, h * 0.08), (r, h * 0.78), (r * 0.8, h * 0.88), (r * 0.8, h)], 0.004, 0.007)
    visuals, colliders = [body], [_cylinder(r, h * 0.84), _cylinder(r * 0.8, h * 0.16, h * 0.84)]
    shell = [_cylinder(r, 0.007), *wall(r, 0.0, h * 0.8, 0.005, 12), *wall(r, h * 0.78, h * 0.88, 0.005, 12, r * 0.8), *wall(r * 0.8, h * 0.86, h, 0.004, 12)]
    tall = h
    if lidded:
        tall = h + 0.014
        visuals.append(lathe("lid", [(0, h), (r * 0.88, h), (r * 0.88, tall), (0, tall)], "accent"))
        colliders.append(_cylinder(r * 0.88, 0.014, h))
        shell.append(_cylinder(r * 0.88, 0.014, h))
    inside = r * 0.8 - 0.006
    interior = Interior((inside, inside), 0.008, h)
    return _turned(visuals, tuple(colliders), r, tall, 0.35, rolling=0.0012, interior=interior, shell=tuple(shell), lidded=lidded)


@_category("hotplate", "metal", traits="flat base hot_base", colours="black white grey red")
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
    colliders = (Collider("box", (x, x, h / 2), (0, 0, h / 2)), _cylinder(r, 0.006, h))
    return Shape((*visuals[:2], turned), colliders, (2 * x, 2 * x, h + 0.006), 1.6)





@_category("cloth", "fabric", traits="flat thin soft")
def _cloth(rng: Stream) -> Shape:
    x, y, t = rng.uniform(0.08, 0.13), rng.uniform(0.07, 0.11), 0.006
    visuals = [block("body", (x, y, t / 2), (0, 0, t / 2))]
    visuals += [block("stripe", (0.007, y * 1.002, t / 2 + 0.0006), (s * x * 0.7, 0, t / 2 + 0.0004), "accent") for s in (1, -1)]
    return Shape(tuple(visuals), (Collider("box", (x, y, t / 2), (0, 0, t / 2)),), (2 * x, 2 * y, t), 0.08, friction=0.95)


@_category("crate", "wood plastic", traits="holder")
def _crate(rng: Stream) -> Shape:
    x, y, h, t = rng.uniform(0.085, 0.12), rng.uniform(0.075, 0.1), rng.uniform(0.06, 0.09), 0.008
    boxes = [("body", (x, y, t / 2), (0.0, 0.0, t / 2))]
    boxes += [("sides", (x, t / 2, (h - t) / 2), (0.0, s * (y - t / 2), (h + t) / 2)) for s in (1, -1)]
    boxes += [("sides", (t / 2, y - t, (h - t) / 2), (s * (x - t / 2), 0.0, (h + t) / 2)) for s in (1, -1)]
    colliders = tuple(Collider("box", b[1], b[2]) for b in boxes)
    interior = Interior((x - 2 * t, y - 2 * t), t, h, round=False)
    return Shape(tuple(block(*b) for b in boxes), colliders, (2 * x, 2 * y, h), 0.5, interior=interior)


@_category("stool", "wood plastic", traits="floor base")
def _stool(rng: Stream) -> Shape:
    r, h = rng.uniform(0.13, 0.16), rng.uniform(0.38, 0.48)
    visuals = [lathe("seat", [(0, h - 0.03), (r, h - 0.03), (r, h), (0, h)])]
    colliders = [_cylinder(r, 0.03, h - 0.03)]
    for k in range(4):
        a = np.pi / 4 + k * np.pi / 2
        at = (float(r * 0.75 * np.cos(a)), float(r * 0.75 * np.sin(a)), (h - 0.03) / 2)
        visuals.append(block("legs", (0.013, 0.013, (h - 0.03) / 2), at))
        colliders.append(Collider("box", (0.013, 0.013, (h - 0.03) / 2), at))
    return Shape(tuple(visuals), tuple(colliders), (2 * r, 2 * r, h), 2.5)


@_category("bucket", "plastic metal", traits="floor vessel")
def _bucket(rng: Stream) -> Shape:
    r, h = rng.uniform(0.12, 0.15), rng.uniform(0.22, 0.3)
    body = vessel("body", [(r * 0.75, 0), (r, h)], 0.006, 0.01)
    parts = (_cylinder(r * 0.75, 0.01), *wall(r * 0.75, 0.0, h, 0.008, 10, r))
    return _turned([body], parts, r, h, 0.8, interior=Interior((r * 0.74, r * 0.74), 0.011, h))


def pose_turn(pose: str, rng: Stream) -> tuple[float, ...]:
    """Return the quaternion that brings an upright thing into a pose, with a random heading."""
    heading = about_z(float(rng.uniform(-np.pi, np.pi)))
    if pose == "lying":
        return multiply(heading, multiply(about_y(np.pi / 2), about_z(float(rng.uniform(-np.pi, np.pi)))))
    if pose == "upside_down":
        return multiply(heading, about_x(np.pi))
    return heading
