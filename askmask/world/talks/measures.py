"""Sizes and places of things as a conversation compares them, with gaps that leave no doubt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from askmask.world.ground import Ground

RATIO = 1.3  # of two sizes that differ for sure; below 1 / RATIO surely not
SIDE, DEPTH, UP = 0.05, 0.05, 0.02  # widths of the picture, metres, metres: gaps that show an order


def volume(ground: Ground, n: int) -> float:
    """Of the box around a thing, cubic metres."""
    return math.prod(ground.things[n]["size"])


def height(ground: Ground, n: int) -> float:
    """From a thing's lowest to its highest point, metres."""
    return float(ground.things[n]["size"][2])


def superlatives(ground: Ground, things: Sequence[int]) -> Iterator[tuple[str, int, list[int]]]:
    """Yield (word, which of the things, which of all on the table) as far as the order shows clearly."""
    if any(ground.view[n]["cut"] or ground.things[n]["place"] != "table" for n in things):
        return
    for word, measure, last in (
        ("leftmost", ground.x, False),
        ("rightmost", ground.x, True),
        ("nearest", ground.far, False),
        ("farthest", ground.far, True),
        ("tallest", lambda n: math.log(height(ground, n)), True),
        ("biggest", lambda n: math.log(volume(ground, n)) / 2, True),
        ("smallest", lambda n: math.log(volume(ground, n)) / 2, False),
        ("lowest", lambda n: ground.things[n]["low"], False),
        ("highest", lambda n: ground.things[n]["high"], True),
    ):
        gap = {"leftmost": SIDE, "rightmost": SIDE, "nearest": DEPTH, "farthest": DEPTH,
               "lowest": UP, "highest": UP}.get(word, math.log(RATIO))  # fmt: skip
        ranked = sorted(things, key=measure, reverse=last)
        if abs(measure(ranked[0]) - measure(ranked[1])) < gap:
            continue
        top = sorted(ground.on_table, key=measure, reverse=last)[0]
        yield word, ranked[0], [top]
