"""Relations: what carries, contains, touches, leans on, hides or matches what."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import NOUNS


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    for n in ground.seen:
        thing = ground.things[n]
        pool = [m for m in ground.seen if m != n]

        def about(
            kind: str, family: str, found: list[int], n: int = n, pool: list[int] = pool, **more
        ) -> Query:
            hidden = [m for m in found if m in ground.glimpsed]
            return Query(
                concept="relations",
                family=family,
                kind=kind,
                satisfying=[m for m in found if m in pool],
                candidates=pool,
                slots={"x": n, **more},
                ignore=hidden,
                facts={"of": n, kind: found},
            )

        if thing["supported_by"] and thing["inside"] is None:
            yield about("rests_on", "support", thing["supported_by"])
        loads = thing["supports"] if not thing["contains"] else None
        if loads is not None and (loads or "flat" in thing["traits"] or "stackable" in thing["traits"]):
            yield about("carried_by", "support", loads)
        if (
            thing["attributes"]["container"]
            and thing["pose"] == "upright"
            and (thing["contains"] or not thing["supports"])
        ):
            yield about("inside", "containment", thing["contains"])
        if thing["inside"] is not None:
            yield about("container_of", "containment", [thing["inside"]])
        if thing["place"] == "table":
            yield about("touching", "contact", thing["touches"])
        leaners = [
            m for m in pool if n in ground.things[m]["leans_on"] and ground.things[m]["pose"] == "tilted"
        ]
        if leaners:
            yield about("leaning", "contact", leaners)
        seen = ground.view[n]
        if seen["hidden_by"] and seen["visible"] < 0.85:
            yield about("hiding", "occlusion", seen["hidden_by"])
        elif seen["visible"] > 0.97 and not seen["cut"]:
            yield about("hiding", "occlusion", [])
        for kind, key in (("same_colour", "colour"), ("same_material", "material")):
            if kind == "same_material" and thing["material"] in ("fruit", "wax"):
                continue
            yield about(
                kind,
                "likeness",
                [
                    m
                    for m in (*ground.seen, *ground.glimpsed)
                    if m != n and ground.things[m][key] == thing[key]
                ],
            )
        noun, plural = choose(rng, NOUNS[thing["category"]])
        same = [
            m for m in (*ground.seen, *ground.glimpsed) if m != n and ground.category(m) == thing["category"]
        ]
        yield about("same_kind", "likeness", same, n_=noun, ns=plural)
