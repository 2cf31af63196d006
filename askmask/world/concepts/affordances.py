"""Affordances: what things are good for as they stand now: hold, carry, reach, grasp, cut, drink, sit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from askmask.world.ground import Ground, Query

FAMILIES = {
    "holds_liquid": "context_dependent",
    "cannot_hold": "negative",
    "free_surface": "context_dependent",
    "heat_proof": "context_dependent",
    "reachable": "state_dependent",
    "not_reachable": "negative",
}


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    vessels = ground.traited("vessel")
    clear = [n for n in ground.on_table if ground.view[n]["visible"] > 0.9]
    near = sorted(ground.on_table, key=ground.far)[: (len(ground.on_table) + 1) // 2]
    rest = [[n for n in ground.on_table if n not in some] for some in (clear, near)]
    sets = (
        ("holds_liquid", "holds_liquid", True, ground.seen, {"vessel": vessels}),
        ("cannot_hold", "holds_liquid", False, vessels, {"vessel": vessels}),
        ("free_surface", "free_surface", True, ground.on_table, {"flat": ground.traited("flat")}),
        ("heat_proof", "heat_proof", True, ground.on_table, {"hot_base": ground.traited("hot_base")}),
        ("reachable", "reachable", True, ground.on_table, {"unhidden": clear, "nearer_half": near}),
        ("not_reachable", "reachable", False, ground.on_table, {"hidden": rest[0], "farther_half": rest[1]}),
    )
    for kind, attribute, value, pool, shortcuts in sets:
        if not pool:
            continue
        yes, ignore = ground.having(attribute, pool, value)
        if kind == "cannot_hold":
            ignore = [n for n in ignore if "vessel" in ground.things[n]["traits"]]
        yield Query(
            concept="affordances",
            family=FAMILIES[kind],
            kind=kind,
            satisfying=yes,
            candidates=pool,
            ignore=ignore,
            shortcuts=shortcuts,
            facts={"attribute": attribute, "value": value},
        )
    for n in ground.on_table:
        thing = ground.things[n]
        if thing["attributes"]["free_surface"] and thing["pose"] == "upright" and not thing["supports"]:
            yield Query(
                concept="affordances",
                family="surface",
                kind="surface",
                satisfying=[n],
                candidates=ground.seen,
                surface=True,
                slots={"x": n},
                facts={"free_height": thing["free_height"]},
            )
        handle = next((p["id"] for p in thing["parts"] if p["name"] == "handle"), None)
        if handle is not None and ground.part_pixels.get(handle, 0) >= max(6, 0.0003 * ground.size**2):
            yield Query(
                concept="affordances",
                family="context_independent",
                kind="grasp",
                satisfying=[n],
                candidates=ground.seen,
                parts=[handle],
                slots={"x": n},
                facts={"part": "handle", "of": n},
            )
        if thing["blocked_by"] and thing["attributes"]["reachable"] is False:
            seen = [m for m in thing["blocked_by"] if m in ground.seen]
            yield Query(
                concept="affordances",
                family="anticipatory",
                kind="must_move",
                satisfying=seen,
                candidates=[m for m in ground.on_table if m != n],
                slots={"x": n},
                ignore=[m for m in thing["blocked_by"] if m not in seen],
                facts={"blocked_by": thing["blocked_by"]},
            )
    blades = [
        (n, p["id"])
        for n in ground.seen
        for p in ground.things[n]["parts"]
        if p["name"] == "blade" and ground.part_pixels.get(p["id"], 0) >= 6
    ]
    knives = [n for n in (*ground.seen, *ground.glimpsed) if ground.things[n]["attributes"]["sharp"]]
    if len(blades) == len(knives):
        yield Query(
            concept="affordances",
            family="context_independent",
            kind="cut_with",
            satisfying=[n for n, _ in blades],
            candidates=ground.seen,
            parts=[p for _, p in blades],
            facts={"attribute": "sharp"},
        )

    def drink(thing: dict) -> bool | None:
        if "drink" not in thing["traits"]:
            return (
                False
                if "vessel" not in thing["traits"] and thing["category"] not in ("bottle", "can")
                else None
            )
        return thing["attributes"]["holds_liquid"]

    for kind, family, test in (
        ("drink", "agent_dependent", drink),
        ("eat", "context_independent", lambda t: "food" in t["traits"]),
        ("sit", "agent_dependent", lambda t: t["category"] == "stool"),
    ):
        yes, ignore = ground.where(test)
        yield Query(
            concept="affordances",
            family=family,
            kind=kind,
            satisfying=yes,
            candidates=ground.seen,
            ignore=ignore,
            facts={"kind": kind},
        )
