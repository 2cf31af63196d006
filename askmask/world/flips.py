"""How steady labels are: perturb friction, mass or poses, measure anew, count what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from askmask.world.facts import measure
from askmask.world.scene import Scene, Thing
from askmask.world.shapes import about_x, about_y, about_z, multiply
from askmask.world.simulate import World, build, settle, settled_world

FRICTION = (0.5, 0.9)  # absolute, one value for the whole scene
MASS = (0.7, 1.4)  # factor, each thing its own
SHIFT, TURN = 0.002, np.deg2rad(1.0)  # metres and radians, standard deviations, each thing its own
KINDS = ("friction", "mass", "pose")


@dataclass(slots=True)
class Flips:
    """Counts per (perturbation, attribute): labels kept, turned over, blurred; and scenes that fell."""

    kept: Counter
    flipped: Counter
    blurred: Counter
    refused: Counter  # perturbed scenes that no longer came to rest on the table
    scenes: int = 0

    def rates(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return {perturbation: {attribute: {labels, flipped (share), uncertain (share)}}}."""
        table: dict[str, dict[str, dict[str, Any]]] = {}
        for kind, name in sorted(self.kept | self.flipped | self.blurred):
            counts = [c[kind, name] for c in (self.kept, self.flipped, self.blurred)]
            total = sum(counts)
            table.setdefault(kind, {})[name] = {
                "labels": total,
                "flipped": round(counts[1] / total, 4),
                "uncertain": round(counts[2] / total, 4),
            }
        return table


def perturbed(scene: Scene, kind: str, rng: np.random.Generator) -> World | None:
    """Build a scene with one kind of perturbation and let it rest; None if it does not."""
    if kind == "pose":
        scene = replace(scene, things=tuple(_displaced(thing, rng) for thing in scene.things))
    world = build(scene)
    if kind == "friction":
        world.model.geom_friction[:, 0] = rng.uniform(*FRICTION)
    elif kind == "mass":
        for body in world.body[1:]:
            factor = rng.uniform(*MASS)
            world.model.body_mass[body] *= factor
            world.model.body_inertia[body] *= factor
    return world if settle(world) else None


def _displaced(thing: Thing, rng: np.random.Generator) -> Thing:
    across, along = rng.normal(0, SHIFT, 2)
    at = thing.at[0] + float(across), thing.at[1] + float(along), thing.at[2] + 0.0005
    heading = about_z(rng.normal(0, TURN))
    tilt = multiply(about_x(rng.normal(0, TURN / 4)), about_y(rng.normal(0, TURN / 4)))
    return replace(thing, at=at, turn=multiply(heading, multiply(tilt, thing.turn)))


def count_flips(seeds: range, *, tick: Callable[[], None] | None = None) -> Flips:
    """Measure each seed's scene as it is and once under each perturbation."""
    flips = Flips(Counter(), Counter(), Counter(), Counter())
    for seed in seeds:
        world = settled_world(seed)
        before = [thing["attributes"] for thing in measure(world)]
        flips.scenes += 1
        for number, kind in enumerate(KINDS):
            other = perturbed(world.scene, kind, np.random.default_rng([7, seed, number]))
            if other is None:
                flips.refused[kind] += 1
                continue
            for was, thing in zip(before, measure(other), strict=True):
                for name, truth in was.items():
                    now = thing["attributes"][name]
                    if truth is not None:
                        counts = (
                            flips.kept if now is truth else flips.blurred if now is None else flips.flipped
                        )
                        counts[kind, "rolls" if name.startswith("rolls_") else name] += 1
        if tick:
            tick()
    return flips
