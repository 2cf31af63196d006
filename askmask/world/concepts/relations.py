"""Relations: what carries, contains, touches, leans on, hides or matches what."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from askmask.world.concepts.kinds import query
from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import NOUNS


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    for n in ground.seen:
        noun, plural = choose(rng, NOUNS[ground.category(n)])
        pool = [m for m in ground.seen if m != n]
        for kind, found in _found(ground, n):
            yes, hidden = ([m for m in found if m in some] for some in (pool, ground.glimpsed))
            words = {"n_": noun, "ns": plural} if kind == "same_kind" else None
            yield query(kind, pool, yes, hidden, x=n, words=words, facts={"of": n, kind: found})


def _found(ground: Ground, n: int) -> Iterator[tuple[str, list[int]]]:
    """Yield (kind, the things that are so related to one thing), as far as it can be asked."""
    thing, seen = ground.things[n], ground.view[n]
    others = [m for m in (*ground.seen, *ground.glimpsed) if m != n]
    if thing["supported_by"] and thing["inside"] is None:
        yield "rests_on", thing["supported_by"]
    loads = thing["supports"]
    if not thing["contains"] and (loads or {"flat", "stackable"} & set(thing["traits"])):
        yield "carried_by", loads
    is_open = thing["attributes"]["container"] and thing["pose"] == "upright"
    if is_open and (thing["contains"] or not loads):
        yield "inside", thing["contains"]
    if thing["inside"] is not None:
        yield "container_of", [thing["inside"]]
    if thing["place"] == "table":
        yield "touching", thing["touches"]
    tilted = [m for m in ground.seen if m != n and ground.things[m]["pose"] == "tilted"]
    if leaning := [m for m in tilted if n in ground.things[m]["leans_on"]]:
        yield "leaning", leaning
    if seen["hidden_by"] and seen["visible"] < 0.85:
        yield "hiding", seen["hidden_by"]
    elif seen["visible"] > 0.97 and not seen["cut"]:
        yield "hiding", []
    for kind, key in (("same_colour", "colour"), ("same_material", "material"), ("same_kind", "category")):
        if kind != "same_material" or thing["material"] not in ("fruit", "wax"):
            yield kind, [m for m in others if ground.things[m][key] == thing[key]]
