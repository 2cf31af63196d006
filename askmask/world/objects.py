"""The parts box: every category in one dict, and the poses things are put down in."""

from __future__ import annotations

import numpy as np

from askmask.world import vessels, wares
from askmask.world.categories import REGISTER, Category, Stream
from askmask.world.shapes import about_x, about_y, about_z, multiply

# The order is part of what a seed means: choices are drawn by number. New categories go last.
ORDER = (
    "mug",
    "glass",
    "bottle",
    "can",
    "vase",
    "bowl",
    "pot",
    "pan",
    "plate",
    "tray",
    "trivet",
    "board",
    "book",
    "box",
    "plank",
    "shelf",
    "ball",
    "apple",
    "cushion",
    "candle",
    "knife",
    "spoon",
    "teapot",
    "jar",
    "hotplate",
    "cloth",
    "crate",
    "stool",
    "bucket",
)
CATEGORIES: dict[str, Category] = {name: REGISTER[name] for name in ORDER}


def pose_turn(pose: str, rng: Stream) -> tuple[float, ...]:
    """Return the quaternion that brings an upright thing into a pose, with a random heading."""
    heading = about_z(float(rng.uniform(-np.pi, np.pi)))
    if pose == "lying":
        return multiply(heading, multiply(about_y(np.pi / 2), about_z(float(rng.uniform(-np.pi, np.pi)))))
    if pose == "upside_down":
        return multiply(heading, about_x(np.pi))
    return heading


__all__ = ["CATEGORIES", "ORDER", "Category", "pose_turn", "vessels", "wares"]
