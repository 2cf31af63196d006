"""What a kind of thing is, and the register that builders enter themselves into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from askmask.world.shapes import Collider, Shape, Visual, lathe

Stream = np.random.Generator
Builder = Callable[[Stream], Shape]


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of thing: its builder, materials it comes in, poses it may take, traits for layouts and words.

    A category never decides a physical fact. A pose named several times is drawn that much more often.
    """

    name: str
    build: Builder
    materials: tuple[str, ...]
    poses: tuple[str, ...] = ("upright",)
    traits: frozenset[str] = frozenset()
    colours: tuple[str, ...] = ()  # empty: any colour


REGISTER: dict[str, Category] = {}


def category(
    name: str, materials: str, *, poses: str = "upright", traits: str = "", colours: str = ""
) -> Callable[[Builder], Builder]:
    """Enter a builder into the register; lists are words in one string."""

    def register(build: Builder) -> Builder:
        REGISTER[name] = Category(
            name,
            build,
            tuple(materials.split()),
            tuple(poses.split()),
            frozenset(traits.split()),
            tuple(colours.split()),
        )
        return build

    return register


def turned(
    visuals: list[Visual], solid: tuple[Collider, ...], radius: float, tall: float, mass: float, **more: Any
) -> Shape:
    """Return a Shape around the z axis; its width counts what stands out (handles, spouts)."""
    wide = max(float(np.ptp(np.concatenate([v.vertices for v in visuals])[:, k])) for k in (0, 1))
    return Shape(tuple(visuals), solid, (max(wide, 2 * radius), 2 * radius, tall), mass, **more)


def cylinder(radius: float, tall: float, low: float = 0.0) -> Collider:
    """Return an upright cylinder that begins at height `low`."""
    return Collider("cylinder", (radius, tall / 2), (0.0, 0.0, low + tall / 2))


def globe(
    part: str, radius: float, half: float, centre: float, paint: str = "body", rings: int = 9
) -> Visual:
    """Return an ellipsoid turned about z: `half` its half height, `centre` its middle's height."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings)
    profile = [(max(radius * float(np.cos(a)), 0.0), centre + half * float(np.sin(a))) for a in angle]
    profile[0], profile[-1] = (0.0, centre - half), (0.0, centre + half)
    return lathe(part, profile, paint)
