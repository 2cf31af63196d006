"""Scene: one table, its things, room, lights and cameras as pure data, sampled from a seed.

Knows nothing of physics engines; where things come to rest is for simulate.py to find.
World frame: metres, x to the viewer's right, y away from the viewer, z up, the table's top at z = 0.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from askmask.errors import SettingError
from askmask.world.assets import ASSETS
from askmask.world.shapes import Shape, Vector, matrix

FLOOR = -0.72  # height of the floor under the table's top
SPLITS = {"train": 0, "val": 100_000_000, "test": 200_000_000}  # first seed of each split
SPLIT_SEEDS = 100_000_000
VERSION = 3  # raised when the same seed gives another scene or other facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object: what it is, how it looks, and where it is put down before physics takes over."""

    category: str
    form: int  # seed of its shape
    colour: str
    rgb: tuple[float, float, float]
    accent: tuple[float, float, float]
    material: str
    pose: str
    at: tuple[float, float, float]
    turn: Vector
    place: str = "table"  # or "floor"

    @property
    def shape(self) -> Shape:
        """The form, built from `form` (and kept)."""
        return shape_of(self.category, self.form)


@lru_cache(maxsize=512)
def shape_of(category: str, form: int) -> Shape:
    """Build the form of an asset from its seed."""
    return ASSETS[category].build(np.random.default_rng(form))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The table: half width and depth, thickness, heading in radians."""

    half: tuple[float, float]
    thick: float
    heading: float

    def world(self, u: float, v: float) -> tuple[float, float]:
        """Turn a place in the table's own axes into the world's x and y."""
        c, s = np.cos(self.heading), np.sin(self.heading)
        return float(c * u - s * v), float(s * u + c * v)

    def inward(self, points: np.ndarray) -> np.ndarray:
        """Distance [n] in metres from points [n, 2] to the nearest edge, negative outside."""
        c, s = np.cos(self.heading), np.sin(self.heading)
        own = np.abs(points @ np.array([[c, -s], [s, c]]))
        return (np.asarray(self.half) - own).min(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texture:
    """A surface's pattern: its name, two colours, seed, and repeats per metre."""

    pattern: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    seed: int
    repeat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A view: what is looked at, from how far, at which angles (degrees; azimuth 90 looks along +y)."""

    target: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """A lamp that casts shadows: where it is, where it points, its brightness in 0..1."""

    at: tuple[float, float, float]
    bright: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything a world is built from. Equal seeds give equal Scenes."""

    seed: int
    layout: str
    table: Table
    things: tuple[Thing, ...]
    textures: tuple[Texture, Texture, Texture]  # of table, floor, wall
    lights: tuple[Light, ...]
    cameras: tuple[Camera, ...]
    ambient: float
    wall: float  # distance behind the table, metres
    pair: int | None = None  # seed of the scene that looks the same and stands otherwise

    def digest(self) -> str:
        """Return a hash of the scene's data (not of its pixels)."""
        data = asdict(self)
        # The names that hashes of fixed splits were made with.
        data |= {"papers": data.pop("textures"), "mirrored": False}
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def first_seed(split: str) -> int:
    """Return the first seed of a split; splits share no seed."""
    return SPLITS[split]


def split_of(seed: int) -> str:
    """Return the split a seed belongs to. Raises SettingError for a seed of none."""
    for name, start in SPLITS.items():
        if start <= seed < start + SPLIT_SEEDS:
            return name
    raise SettingError(
        "no such seed", got=seed, do=f"Use one of 0..{max(SPLITS.values()) + SPLIT_SEEDS - 1}."
    )


def extent(shape: Shape, turn: Vector) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest corner [3] of a turned form around its origin."""
    points = np.concatenate([v.vertices for v in shape.visuals]) @ matrix(turn).T
    return points.min(0), points.max(0)
