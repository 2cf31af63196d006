"""Affordances: what things are good for as they stand now: hold, carry, reach, grasp, cut, drink, sit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from askmask.world.concepts.kinds import query
from askmask.world.ground import Ground, Query


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    yield from _fit(ground)
    for n in ground.on_table:
        yield from _of_one(ground, n)
    yield from _uses(ground)


def _fit(ground: Ground) -> Iterator[Query]:
    """What an attribute decides; the shortcuts are what a category or a place alone would say."""
    table, vessels = ground.on_table, ground.traited("vessel")
    clear = [n for n in table if ground.view[n]["visible"] > 0.9]
    near = sorted(table, key=ground.far)[: (len(table) + 1) // 2]
    hidden, farther = ([n for n in table if n not in some] for some in (clear, near))
    for kind, attribute, value, pool, shortcuts in (
        ("holds_liquid", "holds_liquid", True, ground.seen, {"vessel": vessels}),
        ("cannot_hold", "holds_liquid", False, vessels, {"vessel": vessels}),
        ("free_surface", "free_surface", True, table, {"flat": ground.traited("flat")}),
        ("heat_proof", "heat_proof", True, table, {"hot_base": ground.traited("hot_base")}),
        ("reachable", "reachable", True, table, {"unhidden": clear, "nearer_half": near}),
        ("not_reachable", "reachable", False, table, {"hidden": hidden, "farther_half": farther}),
    ):
        if not pool:
            continue
        yes, ignore = ground.having(attribute, pool, value)
        if kind == "cannot_hold":
            ignore = [n for n in ignore if "vessel" in ground.things[n]["traits"]]
        yield query(
            kind, pool, yes, ignore, shortcuts=shortcuts, facts={"attribute": attribute, "value": value}
        )


def _of_one(ground: Ground, n: int) -> Iterator[Query]:
    thing = ground.things[n]
    if thing["attributes"]["free_surface"] and thing["pose"] == "upright" and not thing["supports"]:
        facts = {"free_height": thing["free_height"]}
        yield query("surface", ground.seen, [n], x=n, surface=True, facts=facts)
    handle = next((p["id"] for p in thing["parts"] if p["name"] == "handle"), None)
    if handle is not None and ground.part_pixels.get(handle, 0) >= max(6, 0.0003 * ground.size**2):
        yield query("grasp", ground.seen, [n], x=n, parts=[handle], facts={"part": "handle", "of": n})
    blocking = thing["blocked_by"]
    if blocking and thing["attributes"]["reachable"] is False:
        seen = [m for m in blocking if m in ground.seen]
        unseen = [m for m in blocking if m not in seen]
        others = [m for m in ground.on_table if m != n]
        yield query("must_move", others, seen, unseen, x=n, facts={"blocked_by": blocking})


def _uses(ground: Ground) -> Iterator[Query]:
    blades = [
        (n, p["id"])
        for n in ground.seen
        for p in ground.things[n]["parts"]
        if p["name"] == "blade" and ground.part_pixels.get(p["id"], 0) >= 6
    ]
    knives = [n for n in (*ground.seen, *ground.glimpsed) if ground.things[n]["attributes"]["sharp"]]
    if len(blades) == len(knives):
        owners, parts = [n for n, _ in blades], [p for _, p in blades]
        yield query("cut_with", ground.seen, owners, parts=parts, facts={"attribute": "sharp"})
    for kind, test in (
        ("drink", _drinkable),
        ("eat", lambda thing: "food" in thing["traits"]),
        ("sit", lambda thing: thing["category"] == "stool"),
    ):
        yield query(kind, ground.seen, *ground.where(test), facts={"kind": kind})


def _drinkable(thing: dict) -> bool | None:
    if "drink" in thing["traits"]:
        return thing["attributes"]["holds_liquid"]
    # Nobody can say of a bowl or a bottle that it is not drunk from.
    return None if "vessel" in thing["traits"] or thing["category"] in ("bottle", "can") else False
