"""The room around a table: patterns of table, floor and wall, the lamp, and the cameras."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from askmask.world.scene import Camera, Light, Texture, Thing

CAMERAS = 6  # of a scene; pictures are drawn from the first few
TABLE = ("wood", "wood", "wood", "marble", "stone", "speckle", "stripes", "weave")
FLOOR = ("wood", "tiles", "checker", "stripes", "speckle", "marble")
WALL = ("stripes", "tiles", "marble", "speckle", "stone")
SWING = 14.0  # degrees a camera may stand to the side: "toward me" must stay the same way for all of them


def room_of(rng: np.random.Generator, things: Sequence[Thing]) -> dict[str, Any]:
    """Return the fields of a Scene that are neither table nor things; cameras frame what is on the table."""
    textures = (
        _texture(rng, TABLE, (0.8, 2.2), plain=0.2),
        _texture(rng, FLOOR, (0.6, 2.0), plain=0.15),
        _texture(rng, WALL, (0.5, 2.0), plain=0.35),
    )
    lamp = Light(
        at=(float(rng.uniform(-1.2, 1.2)), float(rng.uniform(-1.4, 0.6)), float(rng.uniform(1.2, 2.2))),
        bright=float(rng.uniform(0.45, 0.75)),
    )
    points = np.array([t.at for t in things if t.place == "table"])
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    reach = float(max(np.hypot(*(high - low)[:2]) / 2 + 0.1, 0.2))
    return {
        "textures": textures,
        "lights": (lamp,),
        "cameras": tuple(_camera(rng, middle, reach) for _ in range(CAMERAS)),
        "ambient": float(rng.uniform(0.32, 0.5)),
        "wall": float(rng.uniform(0.75, 1.6)),
    }


def _camera(rng: np.random.Generator, middle: np.ndarray, reach: float) -> Camera:
    return Camera(
        target=(
            float(middle[0] + rng.uniform(-0.03, 0.03)),
            float(middle[1] + rng.uniform(-0.03, 0.03)),
            float(0.04 + rng.uniform(-0.02, 0.03)),
        ),
        distance=float(max(reach / np.tan(np.deg2rad(20)) * rng.uniform(0.8, 1.08), 0.6)),
        azimuth=90 + float(rng.uniform(-SWING, SWING)),
        elevation=-float(rng.uniform(20, 56)),
    )


def _texture(
    rng: np.random.Generator, patterns: tuple[str, ...], repeat: tuple[float, float], *, plain: float
) -> Texture:
    hue, strong = rng.random(), rng.uniform(0.05, 0.5)
    value = rng.uniform(0.3, 0.95)
    high = colorsys.hsv_to_rgb(hue, strong, value)
    low = colorsys.hsv_to_rgb(hue, strong, value * rng.uniform(0.6, 0.92))
    pattern = "plain" if rng.random() < plain else str(rng.choice(patterns))
    return Texture(
        pattern=pattern,
        low=(round(low[0], 4), round(low[1], 4), round(low[2], 4)),
        high=(round(high[0], 4), round(high[1], 4), round(high[2], 4)),
        seed=int(rng.integers(1 << 31)),
        repeat=float(rng.uniform(*repeat)),
    )
