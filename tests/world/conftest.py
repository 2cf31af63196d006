"""Worlds to test on: scenes laid by hand, and a few sampled ones made once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the world needs the extra [world]")

from askmask.world.record import SceneRecord, record
from askmask.world.room import room_of
from askmask.world.scene import Scene, Table
from askmask.world.simulate import World, settled
from askmask.world.stage import Stage

SEEDS = (3, 4, 10, 21, 24, 200_000_005)


@pytest.fixture(scope="session")
def recorded() -> dict[int, SceneRecord]:
    return {seed: record(seed, 96) for seed in SEEDS}


@pytest.fixture
def lay() -> Callable[..., World]:
    """Lay things by hand: lay(("mug", 0, 0, 0, {"pose": "lying"}), ...) -> the resting world."""

    def build(*things: tuple, seed: int = 0) -> World:
        stage = Stage(np.random.default_rng(seed), False)
        stage.table = Table(half=(0.45, 0.35), thick=0.03, heading=0.0)
        for category, x, y, low, *more in things:
            stage.put(category, x, y, low, **(more[0] if more else {}))
        scene = Scene(
            seed=0,
            layout="by hand",
            table=stage.table,
            things=tuple(stage.things),
            **room_of(stage.rng, stage.things),
        )
        world = settled(scene)
        assert world is not None, "what was laid must come to rest"
        return world

    return build
