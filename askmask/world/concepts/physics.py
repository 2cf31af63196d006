"""Physics: what would move, fall, tip, roll, carry, block or be caught. Truths come from trials."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from askmask.world.appearance import MATERIALS
from askmask.world.concepts.kinds import query
from askmask.world.ground import Ground, Query, closure


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    yield from _attributes(ground)
    for n in ground.on_table:
        yield from _of_one(ground, n)
    yield query("sharp", ground.seen, *ground.having("sharp"), facts={"attribute": "sharp"})
    fragile = ground.where(lambda thing: MATERIALS[thing["material"]].fragile)
    yield query("fragile", ground.seen, *fragile, facts={"attribute": "fragile"})


def _attributes(ground: Ground) -> Iterator[Query]:
    """What an attribute decides; the shortcuts are what a look at shape or place would say."""
    pool, things = ground.on_table, ground.things
    loaded = [n for n in pool if not things[n]["attributes"]["on_top"]]
    tops = [n for n in pool if n not in loaded]
    bottoms = [n for n in loaded if not things[n]["supported_by"]]
    tall, rolling = ([n for n in pool if trait in things[n]["traits"]] for trait in ("tall", "round"))
    still = [n for n in pool if n not in rolling]
    rim = _outermost(ground)
    for kind, attribute, value, shortcuts in (
        ("removable", "removable", True, {"top": tops}),
        ("not_removable", "removable", False, {"loaded": loaded}),
        ("tips", "tips", True, {"tall": tall}),
        ("rolls_left", "rolls_left", True, {"round": rolling}),
        ("rolls_right", "rolls_right", True, {"round": rolling}),
        ("rolls_front", "rolls_front", True, {"round": rolling}),
        ("rolls_back", "rolls_back", True, {"round": rolling}),
        ("stays", "rolls", False, {"round": still}),
        ("load_bearing", "load_bearing", True, {"bottom": bottoms}),
        ("near_edge", "near_edge", True, {"outermost": rim}),
        ("overhangs", "overhangs", True, {"outermost": rim}),
        ("contains_flow", "holds_liquid", True, {"vessel": ground.traited("vessel")}),
    ):
        found = ground.having(attribute, pool, value)
        facts, margin = {"attribute": attribute, "value": value}, _margin(ground, attribute)
        yield query(kind, pool, *found, shortcuts=shortcuts, facts=facts, margin=margin)


def _of_one(ground: Ground, n: int) -> Iterator[Query]:
    thing, others = ground.things[n], [m for m in ground.on_table if m != n]

    def split(found: list[int]) -> tuple[list[int], list[int]]:
        return [m for m in found if m in ground.seen], [m for m in found if m not in ground.seen]

    falls, removable = thing["falls_with"], thing["attributes"]["removable"]
    if removable is not None and (thing["touches"] or removable is False):
        shortcuts, facts = {"above": closure(ground, n)}, {"removed": n, "falls": falls}
        yield query("falls_with", others, *split(falls), x=n, shortcuts=shortcuts, facts=facts)
    blocking = thing["blocked_by"]
    if thing["attributes"]["reachable"] is not None:
        nearer = [
            m
            for m in others
            if ground.far(m) < ground.far(n) - 0.03 and abs(ground.x(m) - ground.x(n)) < 0.12
        ]
        shortcuts, facts = {"nearer": nearer}, {"blocked_by": blocking}
        yield query("blocked_by", others, *split(blocking), x=n, shortcuts=shortcuts, facts=facts)


def _outermost(ground: Ground) -> list[int]:
    """The picture's own guess at who stands at the edge: the leftmost, rightmost and lowest of all."""
    if not ground.on_table:
        return []
    picks = {min(ground.on_table, key=ground.x), max(ground.on_table, key=ground.x)}
    picks.add(max(ground.on_table, key=lambda n: ground.view[n]["box"][3]))
    return sorted(picks)


def _margin(ground: Ground, attribute: str) -> float | None:
    """The smallest distance of a measured quantity to its threshold, as a share of the threshold."""
    from askmask.world import surfaces, trials

    limits = {"removable": trials.MOVED[1], "near_edge": surfaces.EDGE[1]}
    limits |= {f"rolls_{way}": trials.ROLL[1] for way in trials.DIRECTIONS}
    if attribute not in limits:
        return None
    values = [
        ground.things[n]["margins"].get(attribute)
        for n in ground.on_table
        if ground.attribute(n, attribute) is not None
    ]
    found = [abs(v - limits[attribute]) / limits[attribute] for v in values if v is not None]
    return round(min(found), 3) if found else None
