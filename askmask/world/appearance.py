"""How things look: shades of named colours, paints of parts, materials, procedural textures."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

# Hue (degrees), saturation, value: the middle of what a person would call by that name.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0, 0.85, 0.78),
    "orange": (26, 0.92, 0.95),
    "yellow": (52, 0.85, 0.95),
    "green": (125, 0.72, 0.58),
    "blue": (218, 0.8, 0.75),
    "purple": (278, 0.6, 0.6),
    "pink": (338, 0.42, 0.97),
    "brown": (24, 0.65, 0.4),
    "black": (0, 0.0, 0.08),
    "white": (0, 0.0, 0.95),
    "grey": (0, 0.0, 0.48),
}
PAINTS: dict[str, tuple[float, float, float]] = {
    "white": (0.93, 0.92, 0.9),
    "dark": (0.1, 0.1, 0.11),
    "steel": (0.74, 0.76, 0.79),
    "iron": (0.2, 0.2, 0.22),
    "paper": (0.92, 0.88, 0.78),
    "bark": (0.3, 0.2, 0.1),
}


@dataclass(frozen=True, slots=True)
class Material:
    """What a thing is made of: how it shines, whether light goes through, how it bears heat and wear."""

    shine: float
    gloss: float
    alpha: float = 1.0
    heat_proof: bool = False
    grain: str | None = None  # texture on its flat sides
    fragile: bool = False


MATERIALS: dict[str, Material] = {
    "ceramic": Material(0.5, 0.7, heat_proof=True, fragile=True),
    "glass": Material(0.9, 0.95, alpha=0.45, fragile=True),
    "metal": Material(1.0, 0.55, heat_proof=True),
    "plastic": Material(0.35, 0.4),
    "wood": Material(0.1, 0.1, grain="wood"),
    "stone": Material(0.2, 0.3, heat_proof=True, grain="stone"),
    "paper": Material(0.05, 0.05),
    "fabric": Material(0.0, 0.0, grain="weave"),
    "wax": Material(0.2, 0.2),
    "fruit": Material(0.4, 0.4),
}


def shade(colour: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return one RGB shade in 0..1 of a named colour."""
    hue, saturation, value = COLOURS[colour]
    if colour in ("black", "white", "grey"):
        spread = {"black": 0.035, "white": 0.04, "grey": 0.07}[colour]
        level = float(np.clip(value + rng.uniform(-spread, spread), 0.02, 1))
        return (level, level, level)
    hue = (hue + rng.uniform(-5, 5)) / 360 % 1
    saturation = float(np.clip(saturation + rng.uniform(-0.08, 0.08), 0, 1))
    value = float(np.clip(value + rng.uniform(-0.07, 0.07), 0, 1))
    return tuple(round(c, 4) for c in colorsys.hsv_to_rgb(hue, saturation, value))  # type: ignore[return-value]


TEXTURE = 128  # texels a side
_GRID = np.meshgrid(np.arange(TEXTURE) / TEXTURE, np.arange(TEXTURE) / TEXTURE, indexing="xy")


def texture(pattern: str, low: tuple, high: tuple, seed: int) -> np.ndarray:
    """Draw a tileable pattern between two colours: uint8 [128, 128, 3]."""
    rng = np.random.default_rng(seed)
    u, v = _GRID
    turn = 2 * np.pi
    wave = np.zeros(())
    if pattern in ("plain", "wood", "stone", "marble"):
        for _ in range(3):
            wave = wave + np.sin(
                turn * (int(rng.integers(1, 4)) * u + int(rng.integers(1, 4)) * v) + rng.uniform(0, turn)
            )
    if pattern == "wood":
        share = 0.5 + 0.5 * np.sin(turn * (int(rng.integers(5, 9)) * u) + 1.6 * wave)
    elif pattern == "stone":
        share = 0.6 + 0.12 * wave + 0.15 * rng.random((TEXTURE, TEXTURE))
    elif pattern == "marble":
        share = np.abs(np.sin(turn * (u + v) + 1.4 * wave)) ** 0.6
    elif pattern == "stripes":
        share = (np.floor(u * int(rng.choice([4, 6, 8, 12]))) % 2).astype(float)
    elif pattern == "checker":
        count = int(rng.choice([4, 8]))
        share = (np.floor(u * count) + np.floor(v * count)) % 2
    elif pattern == "tiles":
        count = int(rng.choice([2, 4]))
        gap = 0.035 * count
        share = ((u * count % 1 > gap) & (v * count % 1 > gap)).astype(float)
    elif pattern == "speckle":
        share = 0.75 + 0.25 * rng.standard_normal((TEXTURE, TEXTURE))
    elif pattern == "weave":
        share = 0.75 + 0.25 * np.sin(turn * 24 * u) * np.sin(turn * 24 * v)
    else:
        share = 0.9 + 0.05 * wave / 3
    share = np.clip(share, 0, 1)[..., None]
    colours = np.asarray(low) * (1 - share) + np.asarray(high) * share
    return np.clip(colours * 255, 0, 255).astype(np.uint8)
