"""Truths by geometry at rest: free surfaces, reach from the front, support, containment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from askmask.world.engine import load_mujoco
from askmask.world.simulate import FELT, Touch, World
from askmask.world.trials import Truth

CELL = 0.012  # metres between rays
FLAT = 0.0025  # metres: rays within this of one height meet one surface
CUP = (0.032, 0.036, 0.040)  # metres: radius of a free disc that a cup needs (surely not, threshold, surely)
PAN = (0.047, 0.055, 0.063)  # and a hot pan's base
EDGE = (0.035, 0.045, 0.055)  # metres from the table's edge
OVER = (0.0, 0.006, 0.012)  # metres out over the edge
HAND = (0.03, 0.045)  # half width of the way a hand needs: surely blocks, may block


@dataclass(frozen=True, slots=True)
class Surface:
    """The largest free disc on a thing's upper side: radius and height in metres."""

    radius: float
    height: float


def free_surface(world: World, number: int) -> Surface | None:
    """Ray-test a thing's upper side; None if it has no level, uncovered spot at all."""
    mujoco = load_mujoco()
    shape = world.shape(number)
    points = world.placed(number, np.concatenate([v.vertices for v in shape.visuals]))
    low, high = points.min(0), points.max(0)
    if min(high[0] - low[0], high[1] - low[1]) < 2 * CUP[0]:
        return None
    xs = np.arange(low[0] + CELL / 2, high[0], CELL)
    ys = np.arange(low[1] + CELL / 2, high[1], CELL)
    grid = np.stack(np.meshgrid(xs, ys, indexing="ij"), -1).reshape(-1, 2)
    found = np.full(len(grid), -9.0)
    group = np.zeros(6, np.uint8)
    group[FELT] = 1
    geom = np.zeros(1, np.int32)
    down = np.array([0.0, 0.0, -1.0])
    top = float(high[2]) + 0.35
    for k, (x, y) in enumerate(grid):
        way = mujoco.mj_ray(world.model, world.data, np.array([x, y, top]), down, group, 1, -1, geom)
        if way >= 0 and world.thing_of_geom[geom[0]] == number:
            found[k] = top - way
    heights = found.reshape(len(xs), len(ys))
    own = heights > -8
    if own.sum() < 9:
        return None
    level = np.round(heights[own] / FLAT).astype(int)
    values, counts = np.unique(level, return_counts=True)
    height = float(np.median(heights[own][level == values[counts.argmax()]]))
    flat = np.pad(own & (np.abs(heights - height) < FLAT), 1)
    return Surface(_largest_disc(flat), height)


def _largest_disc(flat: np.ndarray) -> float:
    """Radius in metres of the largest disc inside a set of cells."""
    if not flat.any():
        return 0.0
    inside, outside = np.argwhere(flat), np.argwhere(~flat)
    square = ((inside[:, None, :] - outside[None, :, :]) ** 2).sum(-1).min(1)
    return float((np.sqrt(square.max()) - 0.5) * CELL)


def hulls(world: World) -> list[np.ndarray]:
    """Return points [n, 3] over each thing's outside (corners, face centres); index n - 1 is thing n."""
    pieces = {n: [(v.vertices, v.samples()[0]) for v in world.shape(n).visuals] for n in world.ids}
    return [
        world.placed(n, np.concatenate([points for pair in pieces[n] for points in pair])) for n in world.ids
    ]


def blockers(points: list[np.ndarray], number: int, half: float) -> list[int]:
    """Return what is in the way of a hand that comes from the viewer's side at a thing's middle height."""
    target = points[number - 1]
    x, front = float(target[:, 0].mean()), float(target[:, 1].min())
    grip = float((target[:, 2].min() + target[:, 2].max()) / 2)
    blocking = []
    for other, hull in enumerate(points, 1):
        if other == number or hull[:, 2].max() < grip:
            continue
        lane = (np.abs(hull[:, 0] - x) < half) & (hull[:, 1] < front) & (hull[:, 2] > grip - 0.02)
        if lane.any():
            blocking.append(other)
    return blocking


def reach(points: list[np.ndarray], number: int) -> tuple[Truth, list[int]]:
    """Return (whether a hand gets to a thing from the front without touching another, what blocks it)."""
    sure, wide = blockers(points, number, HAND[0]), blockers(points, number, HAND[1])
    return (False if sure else None if wide else True), sure


def support(contacts: list[Touch]) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """Return (what each thing or TABLE carries, what each touches) from contact normals.

    A contact whose normal is within 50 degrees of the vertical carries; others only touch.
    """
    carries: dict[int, set[int]] = {}
    touching: dict[int, set[int]] = {}
    for touch in contacts:
        if touch.a == touch.b:
            continue
        touching.setdefault(touch.a, set()).add(touch.b)
        touching.setdefault(touch.b, set()).add(touch.a)
        if abs(touch.normal[2]) > 0.64:
            lower, upper = (touch.a, touch.b) if touch.normal[2] > 0 else (touch.b, touch.a)
            carries.setdefault(lower, set()).add(upper)
    return carries, touching


def inside_of(world: World, points: list[np.ndarray], number: int) -> int | None:
    """Return the vessel whose hollow holds a thing's middle, if any: below its rim, within its walls."""
    low, high = points[number - 1].min(0), points[number - 1].max(0)
    best = None
    for other in world.ids:
        inside = world.shape(other).interior
        if other == number or inside is None or world.up(other) < 0.8:
            continue
        own = ((low + high) / 2 - world.place(other)) @ world.rotation(other)
        within = abs(own[0]) < inside.half[0] and abs(own[1]) < inside.half[1] and own[2] > inside.floor
        if within and inside.floor - 0.005 < (low - world.place(other))[2] < inside.rim - 0.004:
            if best is None or world.shape(other).size[0] < world.shape(best).size[0]:
                best = other
    return best
