"""Meshes and colliders that things are made of: lathed forms, tubes, boxes; quaternions.

Pure numpy, in metres, z up, base at z = 0. Each form is symmetric about its own x-z plane, so that a mirrored scene
needs no mirrored mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

Vector = tuple[float, ...]
UPRIGHT: Vector = (1.0, 0.0, 0.0, 0.0)
SIDES = 20  # of a turned mesh: round at 200 px, cheap to compile


@dataclass(frozen=True, slots=True, eq=False)
class Visual:
    """What is seen of one part: a mesh in the thing's frame; `box` keeps sharp edges and grain.

    `paint` is "body" (the thing's own colour) or a fixed paint of appearance.PAINTS.
    """

    part: str
    paint: str
    vertices: np.ndarray  # [n, 3]
    faces: np.ndarray  # [m, 3]
    box: tuple[Vector, Vector, Vector] | None = None  # half sizes, centre, quaternion

    def samples(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return face centres [m, 3], outward unit normals [m, 3] and areas [m]."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        cross = np.cross(b - a, c - a)
        norm = np.linalg.norm(cross, axis=1)
        return (a + b + c) / 3, cross / np.maximum(norm, 1e-12)[:, None], norm / 2


@dataclass(frozen=True, slots=True)
class Collider:
    """What is felt of a part: a primitive of MuJoCo (`box`, `cylinder`, `sphere`, `ellipsoid`, `capsule`)."""

    kind: str
    size: Vector
    at: Vector = (0.0, 0.0, 0.0)
    quat: Vector = UPRIGHT

    @property
    def volume(self) -> float:
        """Cubic metres."""
        s = self.size
        if self.kind == "box":
            return 8 * s[0] * s[1] * s[2]
        if self.kind == "sphere":
            return 4 / 3 * np.pi * s[0] ** 3
        if self.kind == "ellipsoid":
            return 4 / 3 * np.pi * s[0] * s[1] * s[2]
        return 2 * np.pi * s[0] ** 2 * s[1]


@dataclass(frozen=True, slots=True)
class Interior:
    """The hollow of a vessel: its inner half extents at the rim, and the heights of floor and rim."""

    half: tuple[float, float]
    floor: float
    rim: float


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A thing's form: what is seen, what is felt, and the few sizes that layouts and facts need."""

    visuals: tuple[Visual, ...]
    colliders: tuple[Collider, ...]
    size: tuple[float, float, float]  # full width, depth, height when upright
    mass: float  # kg
    interior: Interior | None = None
    shell: tuple[Collider, ...] = ()  # hollow colliders where `colliders` are solid (bead drops use these)
    rolling: float = 0.0  # rolling friction in metres; 0 = the form has no round side to roll on
    friction: float = 0.7
    lidded: bool = False
    parts: tuple[str, ...] = field(init=False)

    @property
    def ball(self) -> bool:
        """Whether it has no edge to stand or tip on."""
        return any(c.kind in ("sphere", "ellipsoid") for c in self.colliders)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(dict.fromkeys(v.part for v in self.visuals)))


def lathe(part: str, profile: Sequence[Sequence[float]], paint: str = "body", sides: int = SIDES) -> Visual:
    """Turn a profile of (radius, z), bottom centre to top centre by the outside, about the z axis."""
    rings = np.asarray(profile, float)
    turn = 2 * np.pi * np.arange(sides) / sides
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    vertices = np.concatenate(
        [np.concatenate([circle * r, np.full((sides, 1), z)], 1) for r, z in rings]
    )  # [rings * sides, 3]
    faces = []
    for k, (lower, upper) in enumerate(_bands(len(rings), sides)):
        if rings[k][0] > 1e-6:
            faces.append(lower)
        if rings[k + 1][0] > 1e-6:
            faces.append(upper)
    return Visual(part, paint, *_merged(vertices, np.concatenate(faces)))


def _bands(rings: int, sides: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the faces between each ring of vertices and the next: those on the first, those on the second."""
    here = np.arange(sides)
    after = (here + 1) % sides
    for k in range(rings - 1):
        a, b, c, d = k * sides + here, k * sides + after, (k + 1) * sides + after, (k + 1) * sides + here
        yield np.stack([a, b, c], 1), np.stack([a, c, d], 1)


def _merged(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join equal vertices (the poles of a lathe) and drop faces without area."""
    unique, index = np.unique(np.round(vertices, 7), axis=0, return_inverse=True)
    faces = index.reshape(-1)[faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    return unique, faces[whole]


def vessel(
    part: str, outer: Sequence[Sequence[float]], wall: float, floor: float, paint: str = "body"
) -> Visual:
    """Turn a hollow form: an outer profile from base to rim, a wall `wall` thick, a floor at `floor`."""
    outer = [tuple(point) for point in outer]
    rs, zs = [p[0] for p in outer], [p[1] for p in outer]
    inner = [(max(r - wall, 0.002), z) for r, z in reversed(outer) if z > floor + 1e-4]
    at_floor = float(np.interp(floor, zs, rs)) - wall
    return lathe(part, [(0, outer[0][1]), *outer, *inner, (max(at_floor, 0.002), floor), (0, floor)], paint)


def block(part: str, half: Vector, at: Vector, paint: str = "body", heading: float = 0.0) -> Visual:
    """Return a box given its half sizes, centre and heading; its sides are split to sample visibility on."""
    n = 6
    grid = np.linspace(-1, 1, n)
    u, v = (m.ravel() for m in np.meshgrid(grid, grid, indexing="ij"))
    cells = np.array([i * n + j for i in range(n - 1) for j in range(n - 1)])
    quads = np.concatenate(
        [np.stack([cells, cells + n, cells + n + 1], 1), np.stack([cells, cells + n + 1, cells + 1], 1)]
    )
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    for axis in range(3):
        for sign in (1, -1):
            side = np.zeros((n * n, 3))
            side[:, axis], side[:, (axis + 1) % 3], side[:, (axis + 2) % 3] = sign, u, v
            faces.append((quads if sign > 0 else quads[:, ::-1]) + n * n * len(vertices))
            vertices.append(side)
    quat = about_z(heading)
    points = rotate(quat, np.concatenate(vertices) * np.asarray(half)) + np.asarray(at)
    return Visual(part, paint, points, np.concatenate(faces), (half, at, quat))


def tube(part: str, path: Sequence[Vector], radius: float, paint: str = "body", sides: int = 8) -> Visual:
    """Sweep a circle along a path of points in one plane, with closed ends (handles, spouts)."""
    points = np.asarray(path, float)
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side = np.array([0.0, 1.0, 0.0])
    other = np.cross(along, side)
    turn = 2 * np.pi * np.arange(sides) / sides
    rings = points[:, None] + radius * (
        np.cos(turn)[None, :, None] * side + np.sin(turn)[None, :, None] * other[:, None]
    )
    vertices = np.concatenate([rings.reshape(-1, 3), points[:1], points[-1:]])
    here, last = np.arange(sides), (len(points) - 1) * sides
    after, end = (here + 1) % sides, np.full(sides, len(points) * sides)
    faces = [np.stack([after, here, end], 1)]
    faces += [face for band in _bands(len(points), sides) for face in band]
    faces.append(np.stack([last + here, last + after, end + 1], 1))
    joined = np.concatenate(faces)
    centre = vertices.mean(0)
    a, b, c = (vertices[joined[:, j]] - centre for j in range(3))
    outward = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() > 0
    return Visual(part, paint, vertices, joined if outward else joined[:, ::-1])


def ring_handle(
    part: str,
    x: float,
    z: float,
    reach: float,
    tall: float,
    thick: float,
    paint: str = "body",
    *,
    side: int = 1,
    points: int = 9,
    sides: int = 8,
) -> Visual:
    """Return a D-shaped handle that leaves a wall at `x` (or -x), around height `z`, by `reach`."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, points)
    path = [(side * (x + reach * float(np.cos(a))), 0.0, z + tall / 2 * float(np.sin(a))) for a in angle]
    return tube(part, path, thick, paint, sides)


def globe(
    part: str, radius: float, half: float, centre: float, paint: str = "body", rings: int = 9
) -> Visual:
    """Return an ellipsoid turned about z: `half` its half height, `centre` its middle's height."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings)
    profile = [(max(radius * float(np.cos(a)), 0.0), centre + half * float(np.sin(a))) for a in angle]
    profile[0], profile[-1] = (0.0, centre - half), (0.0, centre + half)
    return lathe(part, profile, paint)


def column(radius: float, tall: float, low: float = 0.0) -> Collider:
    """Return an upright cylinder that begins at height `low`."""
    return Collider("cylinder", (radius, tall / 2), (0.0, 0.0, low + tall / 2))


def wall(
    radius: float, low: float, high: float, thick: float, sides: int, top_radius: float | None = None
) -> tuple[Collider, ...]:
    """Return a round wall from height `low` to `high`: boxes in a ring, leaning if the radii differ."""
    top_radius = radius if top_radius is None else top_radius
    lean = float(np.arctan2(top_radius - radius, high - low))
    middle, tall = (radius + top_radius) / 2 - thick / 2, float(np.hypot(high - low, top_radius - radius))
    half = (thick / 2, max(radius, top_radius) * float(np.tan(np.pi / sides)), tall / 2)
    boxes = []
    for k in range(sides):
        turn = 2 * np.pi * (k + 0.5) / sides
        at = (middle * float(np.cos(turn)), middle * float(np.sin(turn)), (low + high) / 2)
        boxes.append(Collider("box", half, at, multiply(about_z(turn), about_y(lean))))
    return tuple(boxes)


# -- quaternions (w, x, y, z) ------------------------------------------------------------------------------


def about_z(angle: float) -> Vector:
    """Return the turn by `angle` about z."""
    return (float(np.cos(angle / 2)), 0.0, 0.0, float(np.sin(angle / 2)))


def about_y(angle: float) -> Vector:
    """Return the turn by `angle` about y."""
    return (float(np.cos(angle / 2)), 0.0, float(np.sin(angle / 2)), 0.0)


def about_x(angle: float) -> Vector:
    """Return the turn by `angle` about x."""
    return (float(np.cos(angle / 2)), float(np.sin(angle / 2)), 0.0, 0.0)


def multiply(p: Vector, q: Vector) -> Vector:
    """Return the turn that does `q`, then `p`."""
    a, b, c, d = p
    e, f, g, h = q
    return (
        a * e - b * f - c * g - d * h,
        a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f,
        a * h + b * g - c * f + d * e,
    )


def matrix(quat: Vector) -> np.ndarray:
    """Return the rotation matrix [3, 3]."""
    w, x, y, z = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotate(quat: Vector, points: np.ndarray) -> np.ndarray:
    """Turn points [n, 3]."""
    return points @ matrix(quat).T
