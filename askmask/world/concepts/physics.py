"""Physics: what would move, fall, tip, roll, carry, block or be caught. Truths come from trials.

`hazard` (sharp, fragile) is the one family that a category decides; it is reported apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from askmask.world.appearance import MATERIALS
from askmask.world.ground import Ground, Query, closure


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    pool = ground.on_table
    tops = [n for n in pool if ground.things[n]["attributes"]["on_top"]]
    loaded = [n for n in pool if n not in tops]
    tall = [n for n in pool if "tall" in ground.things[n]["traits"]]
    round_ones = [n for n in pool if "round" in ground.things[n]["traits"]]
    rim = _outermost(ground)
    sets = (
        ("removable", "stability", "removable", True, {"top": tops}),
        ("not_removable", "counterfactual", "removable", False, {"loaded": loaded}),
        ("tips", "stability", "tips", True, {"tall": tall}),
        ("rolls_left", "motion", "rolls_left", True, {"round": round_ones}),
        ("rolls_right", "motion", "rolls_right", True, {"round": round_ones}),
        ("rolls_front", "motion", "rolls_front", True, {"round": round_ones}),
        ("rolls_back", "motion", "rolls_back", True, {"round": round_ones}),
        ("stays", "motion", "rolls", False, {"round": [n for n in pool if n not in round_ones]}),
        (
            "load_bearing",
            "support",
            "load_bearing",
            True,
            {"bottom": [n for n in pool if not ground.things[n]["supported_by"] and n in loaded]},
        ),
        ("near_edge", "edge", "near_edge", True, {"outermost": rim}),
        ("overhangs", "edge", "overhangs", True, {"outermost": rim}),
        ("contains_flow", "containment", "holds_liquid", True, {"vessel": ground.traited("vessel")}),
    )
    for kind, family, attribute, value, shortcuts in sets:
        yes, ignore = ground.having(attribute, pool, value)
        yield Query(
            concept="physics",
            family=family,
            kind=kind,
            satisfying=yes,
            candidates=pool,
            ignore=ignore,
            shortcuts=shortcuts,
            facts={"attribute": attribute, "value": value},
            margin=_margin(ground, attribute),
        )
    for n in pool:
        thing = ground.things[n]
        others = [m for m in pool if m != n]
        removable = thing["attributes"]["removable"]
        if removable is not None and (thing["touches"] or removable is False):
            falls = [m for m in thing["falls_with"] if m in ground.seen]
            unsure = [m for m in thing["falls_with"] if m not in ground.seen]
            yield Query(
                concept="physics",
                family="counterfactual",
                kind="falls_with",
                satisfying=falls,
                candidates=others,
                slots={"x": n},
                ignore=unsure,
                shortcuts={"above": closure(ground, n)},
                facts={"removed": n, "falls": thing["falls_with"]},
            )
        if thing["attributes"]["reachable"] is not None:
            blocking = [m for m in thing["blocked_by"] if m in ground.seen]
            unsure = [m for m in thing["blocked_by"] if m not in ground.seen]
            nearer = [
                m
                for m in others
                if ground.far(m) < ground.far(n) - 0.03 and abs(ground.x(m) - ground.x(n)) < 0.12
            ]
            yield Query(
                concept="physics",
                family="obstruction",
                kind="blocked_by",
                satisfying=blocking,
                candidates=others,
                slots={"x": n},
                ignore=unsure,
                shortcuts={"nearer": nearer},
                facts={"blocked_by": thing["blocked_by"]},
            )
    yes, ignore = ground.having("sharp")
    yield Query(
        concept="physics",
        family="hazard",
        kind="sharp",
        satisfying=yes,
        candidates=ground.seen,
        ignore=ignore,
        facts={"attribute": "sharp"},
    )
    yes, ignore = ground.where(lambda t: MATERIALS[t["material"]].fragile)
    yield Query(
        concept="physics",
        family="hazard",
        kind="fragile",
        satisfying=yes,
        candidates=ground.seen,
        ignore=ignore,
        facts={"attribute": "fragile"},
    )


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
