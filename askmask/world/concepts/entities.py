"""Entities: kinds, colours, materials, parts, stuff, poses and states, groups, sizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from askmask.world.appearance import COLOURS
from askmask.world.concepts.kinds import query
from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import ABSENT, NOUNS

UNASKED = {"body", "base", "seat", "sides", "spokes", "head", "ring", "stripe"}  # parts without a plain name
# Parts that things without such a part id have as well (every bowl has a rim), so "every rim" would be false.
SINGLE = {"rim", "top", "cover", "knob"}
MATERIALS = ("ceramic", "fabric", "glass", "metal", "paper", "plastic", "wood")  # asked for by name


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    yield from _kinds(ground, rng)
    yield from _stuff(ground)
    yield from _parts(ground)
    yield from _states(ground)
    yield from _groups(ground)
    yield from _sizes(ground)


def _kinds(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    present = sorted({ground.category(n) for n in (*ground.seen, *ground.glimpsed)})
    for category in present:
        noun, plural = choose(rng, NOUNS[category])
        words = {"n": noun, "ns": plural}
        yes, ignore = ground.matching(category=category)
        yield query("category", ground.seen, yes, ignore, words=words, facts={"category": category})
        colours = sorted({ground.things[n]["colour"] for n in yes})
        for colour in [*colours, str(choose(rng, list(COLOURS)))]:
            alike = {"category": category, "colour": colour}
            both = ground.matching(**alike)
            yield query("colour_category", yes, *both, words={**words, "c": colour}, facts=alike)
    for n in ground.seen:
        yield query("one", ground.seen, [n], x=n, facts={"thing": n})
    absent = [names for category, names in NOUNS.items() if category not in (*present, "box", "crate")]
    names, other = choose(rng, absent), choose(rng, ABSENT)
    for noun, plural in (choose(rng, names), other):
        yield query("category", ground.seen, [], words={"n": noun, "ns": plural}, facts={"absent": noun})
    colours = sorted({ground.things[n]["colour"] for n in ground.seen})
    for colour in [*colours, choose(rng, list(COLOURS))]:
        found = ground.matching(colour=colour)
        yield query("colour", ground.seen, *found, words={"c": colour}, facts={"colour": colour})
    materials = {ground.things[n]["material"] for n in ground.seen}
    for material in (name for name in MATERIALS if name in materials):
        found = ground.matching(material=material)
        yield query("material", ground.seen, *found, words={"m": material}, facts={"material": material})
    yield query("transparent", ground.seen, *ground.having("transparent"), facts={"attribute": "transparent"})


def _stuff(ground: Ground) -> Iterator[Query]:
    if ground.table_pixels > 0.03 * ground.size**2:
        yield query("table", ground.seen, [], special="table", facts={"stuff": "table"})
    yield query("floor", ground.seen, [], special="floor", facts={"stuff": "floor"})


def _parts(ground: Ground) -> Iterator[Query]:
    enough = max(6, 0.0003 * ground.size**2)
    by_name: dict[str, list[tuple[int, int]]] = {}
    faint: set[str] = set()
    for n in [*ground.seen, *ground.glimpsed]:
        for part in ground.things[n]["parts"]:
            name, pixels = part["name"], ground.part_pixels.get(part["id"], 0)
            if name in UNASKED:
                continue
            if pixels >= enough and n in ground.seen:
                by_name.setdefault(name, []).append((n, part["id"]))
                facts = {"part": name, "of": n}
                yield query("part", ground.seen, [n], x=n, words={"p": name}, parts=[part["id"]], facts=facts)
            elif pixels:
                faint.add(name)
    for name, found in by_name.items():
        if name not in faint and name not in SINGLE:
            owners, parts = [n for n, _ in found], [p for _, p in found]
            yield query("parts", ground.seen, owners, words={"p": name}, parts=parts, facts={"part": name})
    for n in ground.traited("vessel"):  # a part that this thing does not have
        names = {part["name"] for part in ground.things[n]["parts"]}
        name = next((part for part in ("handle", "lid") if part not in names), None)
        if name is not None:
            yield query("part", ground.seen, [], x=n, words={"p": name}, facts={"part": name, "of": n})


def _states(ground: Ground) -> Iterator[Query]:
    for kind, facts in (
        ("lying", {"pose": "lying"}),
        ("upside_down", {"pose": "upside_down"}),
        ("covered", {"attribute": "covered"}),
        ("open", {"attribute": "container"}),
    ):
        name = next(iter(facts.values()))
        yield query(kind, ground.seen, *ground.having(name), facts=facts)


def _groups(ground: Ground) -> Iterator[Query]:
    for n in ground.on_table:
        stack = ground.stack_of(n)
        if len(stack) >= 2:
            seen, glimpsed = ([m for m in stack if m in some] for some in (ground.seen, ground.glimpsed))
            yield query("stack", ground.seen, seen, glimpsed, x=n, facts={"stack": stack})


def _sizes(ground: Ground) -> Iterator[Query]:
    whole = [n for n in ground.on_table if not ground.view[n]["cut"]]
    if len(whole) < 3 or len(whole) < len([n for n in ground.things if ground.things[n]["place"] == "table"]):
        return
    for kind, measure in (
        ("tallest", lambda n: ground.things[n]["size"][2]),
        ("largest", lambda n: float(np.prod(ground.things[n]["size"]))),
    ):
        first, second, *_ = sorted(whole, key=measure, reverse=True)
        ratio = measure(first) / measure(second)
        if measure(first) > 1.2 * measure(second):
            facts = {"size": ground.things[first]["size"]}
            yield query(kind, ground.on_table, [first], margin=round(ratio - 1, 3), facts=facts)
