"""One seed -> everything that is stored of it: its pictures, facts, prompts and dialogues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from askmask.world.facts import Facts, look, measure
from askmask.world.ground import Ground
from askmask.world.prompts import PER_VIEW, held_out, prompts_for
from askmask.world.render import Painter, View
from askmask.world.scene import Scene, split_of
from askmask.world.simulate import World, settled_world

FORMAT = 1
LEVEL = 0.004  # metres: pixels within this of a free surface's height belong to it


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRecord:
    """What one seed gives. `facts` is a line of the dense format (docs/world.md)."""

    scene: Scene
    facts: Facts
    views: tuple[View, ...]


def record(seed: int, size: int, *, prompts: int = PER_VIEW) -> SceneRecord:
    """Build, settle, try, draw and ask about the scene of a seed, at `size` pixels a side."""
    world = settled_world(seed)
    return record_world(world, size, prompts=prompts)


def record_world(world: World, size: int, *, prompts: int = PER_VIEW) -> SceneRecord:
    """Record a world that is at rest."""
    scene, split = world.scene, split_of(world.scene.seed)
    things = measure(world)
    views, facts = [], []
    with Painter(world, size) as painter:
        for number, camera in enumerate(scene.cameras):
            view = painter.draw(camera)
            seen = look(world, view)
            rng = np.random.default_rng([3, scene.seed, number])
            ground = Ground(things, seen, size)
            seen["prompts"] = prompts_for(ground, surface_of(view, things), rng, held=held_out(split), count=prompts)
            seen["dialogues"] = []
            views.append(view)
            facts.append(seen)
    line = {
        "format": FORMAT,
        "seed": scene.seed,
        "split": split,
        "layout": scene.layout,
        "pair": scene.pair,
        "hash": scene.digest(),
        "objects": things,
        "views": facts,
    }
    return SceneRecord(scene=scene, facts=line, views=tuple(views))


def surface_of(view: View, things: list[Facts]) -> Callable[[int], np.ndarray]:
    """Return a function that gives the free upper surface [H, W] of a thing in a view."""
    heights = view.eye.heights(view.depth)

    def mask(number: int) -> np.ndarray:
        return (view.objects == number) & (np.abs(heights - things[number - 1]["free_height"]) < LEVEL)

    return mask
