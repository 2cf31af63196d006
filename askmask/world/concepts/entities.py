"""Entities: kinds, colours, materials, parts, stuff, poses and states, groups, sizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from askmask.world.appearance import COLOURS
from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import ABSENT, NOUNS

UNASKED = {"body", "base", "seat", "sides", "spokes", "head", "ring", "stripe"}  # parts without a plain name
# Parts that things without such a part id have as well (every bowl has a rim), so "every rim" would be false.
SINGLE = {"rim", "top", "cover", "knob"}


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    yield from _kinds(ground, rng)
    yield from _stuff(ground)
    yield from _parts(ground)
    yield from _states(ground)
    yield from _groups(ground)


def _kinds(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    present = sorted({ground.category(n) for n in (*ground.seen, *ground.glimpsed)})
    for category in present:
        noun, plural = choose(rng, NOUNS[category])
        words = {"n": noun, "ns": plural}
        yes, ignore = ground.matching(category=category)
        yield Query(
            concept="entities",
            family="instances",
            kind="category",
            satisfying=yes,
            candidates=ground.seen,
            slots=words,
            ignore=ignore,
            facts={"category": category},
        )
        colours = sorted({ground.things[n]["colour"] for n in yes})
        for colour in [*colours, str(choose(rng, list(COLOURS)))]:
            both, ignore = ground.matching(category=category, colour=colour)
            yield Query(
                concept="entities",
                family="instances",
                kind="colour_category",
                satisfying=both,
                candidates=yes,
                slots={**words, "c": colour},
                ignore=ignore,
                facts={"category": category, "colour": colour},
            )
    for n in ground.seen:
        yield Query(
            concept="entities",
            family="instances",
            kind="one",
            satisfying=[n],
            candidates=ground.seen,
            slots={"x": n},
            facts={"thing": n},
        )
    absent = [
        names
        for category, names in NOUNS.items()
        if category not in present and category not in ("box", "crate")
    ]
    for names in (choose(rng, absent), choose(rng, ABSENT)):
        noun, plural = choose(rng, names) if isinstance(names[0], tuple) else names
        yield Query(
            concept="entities",
            family="instances",
            kind="category",
            satisfying=[],
            candidates=ground.seen,
            slots={"n": noun, "ns": plural},
            facts={"absent": noun},
        )
    colours = sorted({ground.things[n]["colour"] for n in ground.seen})
    for colour in [*colours, choose(rng, list(COLOURS))]:
        yes, ignore = ground.matching(colour=colour)
        yield Query(
            concept="entities",
            family="instances",
            kind="colour",
            satisfying=yes,
            candidates=ground.seen,
            slots={"c": colour},
            ignore=ignore,
            facts={"colour": colour},
        )
    for material in sorted(
        {ground.things[n]["material"] for n in ground.seen}
        & {"metal", "wood", "glass", "ceramic", "fabric", "plastic", "paper"}
    ):
        yes, ignore = ground.matching(material=material)
        word = "wood" if material == "wood" else material
        yield Query(
            concept="entities",
            family="materials",
            kind="material",
            satisfying=yes,
            candidates=ground.seen,
            slots={"m": word},
            ignore=ignore,
            facts={"material": material},
        )
    yes, ignore = ground.having("transparent")
    yield Query(
        concept="entities",
        family="materials",
        kind="transparent",
        satisfying=yes,
        candidates=ground.seen,
        ignore=ignore,
        facts={"attribute": "transparent"},
    )


def _stuff(ground: Ground) -> Iterator[Query]:
    if ground.table_pixels > 0.03 * ground.size**2:
        yield Query(
            concept="entities",
            family="stuff",
            kind="table",
            satisfying=[],
            candidates=ground.seen,
            special="table",
            facts={"stuff": "table"},
        )
    yield Query(
        concept="entities",
        family="stuff",
        kind="floor",
        satisfying=[],
        candidates=ground.seen,
        special="floor",
        facts={"stuff": "floor"},
    )


def _parts(ground: Ground) -> Iterator[Query]:
    enough = max(6, 0.0003 * ground.size**2)
    by_name: dict[str, list[tuple[int, int]]] = {}
    faint: set[str] = set()
    for n in [*ground.seen, *ground.glimpsed]:
        for part in ground.things[n]["parts"]:
            name = part["name"]
            if name in UNASKED:
                continue
            pixels = ground.part_pixels.get(part["id"], 0)
            if pixels >= enough and n in ground.seen:
                by_name.setdefault(name, []).append((n, part["id"]))
                yield Query(
                    concept="entities",
                    family="parts",
                    kind="part",
                    satisfying=[n],
                    candidates=ground.seen,
                    parts=[part["id"]],
                    slots={"x": n, "p": name},
                    facts={"part": name, "of": n},
                )
            elif pixels:
                faint.add(name)
    for name, found in by_name.items():
        if name not in faint and name not in SINGLE:
            yield Query(
                concept="entities",
                family="parts",
                kind="parts",
                satisfying=[n for n, _ in found],
                candidates=ground.seen,
                parts=[p for _, p in found],
                slots={"p": name},
                facts={"part": name},
            )
    for n in ground.seen:  # a part that this thing does not have
        names = {part["name"] for part in ground.things[n]["parts"]}
        if "vessel" in ground.things[n]["traits"]:
            missing = [p for p in ("handle", "lid") if p not in names]
            for name in missing[:1]:
                yield Query(
                    concept="entities",
                    family="parts",
                    kind="part",
                    satisfying=[],
                    candidates=ground.seen,
                    slots={"x": n, "p": name},
                    facts={"part": name, "of": n},
                )


def _states(ground: Ground) -> Iterator[Query]:
    for kind in ("lying", "upside_down"):
        yes, ignore = ground.having(kind)
        yield Query(
            concept="entities",
            family="state",
            kind=kind,
            satisfying=yes,
            candidates=ground.seen,
            ignore=ignore,
            facts={"pose": kind},
        )
    yes, ignore = ground.having("covered")
    yield Query(
        concept="entities",
        family="state",
        kind="covered",
        satisfying=yes,
        candidates=ground.seen,
        ignore=ignore,
        facts={"attribute": "covered"},
    )
    yes, ignore = ground.having("container")
    yield Query(
        concept="entities",
        family="state",
        kind="open",
        satisfying=yes,
        candidates=ground.seen,
        ignore=ignore,
        facts={"attribute": "container"},
    )


def _groups(ground: Ground) -> Iterator[Query]:
    for n in ground.on_table:
        stack = ground.stack_of(n)
        if len(stack) >= 2:
            ignore = [m for m in stack if m in ground.glimpsed]
            yield Query(
                concept="entities",
                family="groups",
                kind="stack",
                satisfying=[m for m in stack if m in ground.seen],
                candidates=ground.seen,
                slots={"x": n},
                ignore=ignore,
                facts={"stack": stack},
            )
    whole = [n for n in ground.on_table if not ground.view[n]["cut"]]
    if len(whole) < 3 or len(whole) < len([n for n in ground.things if ground.things[n]["place"] == "table"]):
        return
    for kind, measure in (
        ("tallest", lambda n: ground.things[n]["size"][2]),
        ("largest", lambda n: float(np.prod(ground.things[n]["size"]))),
    ):
        ranked = sorted(whole, key=measure, reverse=True)
        if measure(ranked[0]) > 1.2 * measure(ranked[1]):
            yield Query(
                concept="entities",
                family="size",
                kind=kind,
                satisfying=ranked[:1],
                candidates=ground.on_table,
                margin=round(measure(ranked[0]) / measure(ranked[1]) - 1, 3),
                facts={"size": ground.things[ranked[0]]["size"]},
            )
