"""One seed -> everything that is stored of it: its pictures, facts, prompts and dialogues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from askmask.world import compositions
from askmask.world.dialogues import dialogues_for
from askmask.world.facts import Facts, look, measure
from askmask.world.ground import Ground
from askmask.world.prompts import PER_VIEW, SurfaceMask, held_out, prompts_for, queries
from askmask.world.render import CameraPose, Renderer, View
from askmask.world.scene import Scene, split_of
from askmask.world.simulate import World, resting_worlds
from askmask.world.talks import intents, memory
from askmask.world.talks.mixed import mixed

FORMAT = 1
VIEWS = 2  # pictures of a scene, unless said otherwise
LEVEL = 0.004  # metres: pixels within this of a free surface's height belong to it


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRecord:
    """What one seed gives. `facts` is a line of the dense format (docs/world.md)."""

    scene: Scene
    facts: Facts
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Asking:
    """How much is asked of a picture. With conversations or dialogues, the short ones of dialogues.py are left out."""

    prompts: int = PER_VIEW
    composed: int = 0  # compositions (compositions.py), besides
    conversations: int = 0  # rounds that remember masks (talks/memory.py)
    dialogues: int = 0  # an intent that moves, in words and masks (talks/intents.py)


USUAL = Asking()


def record(seed: int, size: int, asking: Asking = USUAL, *, views: int = VIEWS) -> SceneRecord:
    """Build, settle, try, draw and ask about the scene of a seed, at `size` pixels a side."""
    split_of(seed)  # a seed of no split is refused before anything is built
    for world in resting_worlds(seed):
        found = record_world(world, size, asking, views=views)
        if not world.unsteady():
            return found
    raise AssertionError("resting_worlds raises when it runs out")


def record_world(world: World, size: int, asking: Asking = USUAL, *, views: int = VIEWS) -> SceneRecord:
    """Record a world that is at rest."""
    scene, split = world.scene, split_of(world.scene.seed)
    things = measure(world)
    drawn, facts = [], []
    with Renderer(world, size) as renderer:
        for number, camera in enumerate(scene.cameras[:views]):
            view = renderer.draw(camera)
            seen = look(world, view)
            surface = surface_of(view.objects, view.depth, seen["camera"], things)
            seen |= ask(things, seen, surface, scene.seed, number, split, asking)
            drawn.append(view)
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
    return SceneRecord(scene=scene, facts=line, views=tuple(drawn))


def ask(
    things: list[Facts],
    seen: Facts,
    surface: SurfaceMask,
    seed: int,
    number: int,
    split: str,
    asking: Asking = USUAL,
) -> Facts:
    """Write the prompts and dialogues of one view from its facts; needs neither MuJoCo nor the world.

    Each sort is drawn from random numbers of its own, so that more of one changes nothing in another.
    """
    ground, held = Ground(things, seen, seen["size"]), held_out(split)
    singles = np.random.default_rng([3, seed, number])
    chats = np.random.default_rng([4, seed, number])
    found = queries(ground, singles)
    written = prompts_for(ground, found, surface, singles, held=held, count=asking.prompts)
    if asking.composed:
        words = np.random.default_rng([5, seed, number])
        written += compositions.prompts_for(ground, words, train=not held, count=asking.composed)
    if not asking.conversations and not asking.dialogues:
        return {"prompts": written, "dialogues": dialogues_for(ground, found, surface, chats, held=held)}
    talks = np.random.default_rng([6, seed, number])
    conversations = memory.conversations_for(
        ground, found, surface, talks, held=held, count=asking.conversations
    )
    intent = np.random.default_rng([7, seed, number])
    dialogues = intents.dialogues_for(ground, intent, held=held, count=asking.dialogues)
    if held:
        return {"prompts": written, "dialogues": conversations + dialogues}
    both = np.random.default_rng([8, seed, number])
    dialogues = mixed(ground, found, surface, both, conversations, dialogues)
    return {"prompts": written, "dialogues": dialogues}


def surface_of(objects: np.ndarray, depth: np.ndarray, camera: Facts, things: list[Facts]) -> SurfaceMask:
    """Return a function that gives the free upper surface [H, W] of a thing in a view.

    Uses what is stored (half-precision depth, rounded camera), so that stored scenes give the same surfaces.
    """
    pose = CameraPose(*(np.array(camera[name]) for name in ("position", "right", "down", "forward")))
    heights = pose.heights(depth.astype(np.float16).astype(np.float32))

    def mask(number: int) -> np.ndarray:
        return (objects == number) & (np.abs(heights - things[number - 1]["free_height"]) < LEVEL)

    return mask
