"""What a dialogue about an intent asks for at a moment, in the names that mini's eyes know (model/mini/reading.py).

So the words of several rounds are supervised as one request: "my tea needs a place", "no, but it must not roll" says
`free_surface` and denies `rolls_left` and its like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from askmask.world.talks.aims import GOALS, NARROWERS

# A property (world/talks/properties.py) that intents and wishes speak of -> names of which any means it.
NAMES_OF: dict[str, tuple[str, ...]] = {
    "holds_water": ("holds_liquid",),
    "drinkable": ("mug", "glass"),
    "room_for_cup": ("free_surface",),
    "takes_heat": ("heat_proof",),
    "sharp": ("sharp",),
    "edible": ("apple",),
    "seat": ("stool",),
    "carrier": ("tray", "crate"),
    "readable": ("book",),
    "lights": ("candle",),
    "comfy": ("cushion",),
    "wipes": ("cloth",),
    "stirs": ("spoon",),
    "fries": ("pan",),
    "brews": ("teapot",),
    "plays": ("ball",),
    "covered": ("covered",),
    "near_edge": ("near_edge",),
    "rolls": ("rolls_back", "rolls_front", "rolls_left", "rolls_right"),
    "tips": ("tips",),
    "breaks": ("material=ceramic", "material=glass"),
    "takes_away": ("removable",),
    "in_reach": ("reachable",),
    "handle": ("graspable",),
    "see_through": ("transparent",),
    "carries": ("load_bearing",),
    "on_floor": ("place=floor",),
}


def names_of_aim(facts: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that the facts of a round ask for, and those they rule out."""
    said, denied = set(NAMES_OF[GOALS[facts["goal"]]["property"]]), set[str]()
    for wish in facts["wishes"]:
        (said if NARROWERS[wish]["value"] else denied).update(NAMES_OF[NARROWERS[wish]["property"]])
    return frozenset(said), frozenset(denied)
