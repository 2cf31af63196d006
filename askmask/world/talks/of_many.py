"""What can be asked of an answer of several things: some of them, all but one, their parts, all else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from askmask.world.facts import Facts
from askmask.world.ground import choose
from askmask.world.phrases import CLAUSES, NOUNS
from askmask.world.talks.measures import superlatives
from askmask.world.talks.talk import (
    PARTS,
    Follow,
    Talk,
    one_part,
    query_of,
    words_of,
)
from askmask.world.talks.words import SINGULAR, one_of_those

ONE = 0.5  # share of training questions after one of several that say "the red one" instead of "the red ones"
PLURAL_PARTS = {part: part if part.endswith("s") else part + "s" for part in PARTS}


def of_many(talk: Talk, things: list[int], number: int) -> Iterator[Follow]:
    """What can be asked of an answer of several things: some of them, all but one, their parts, all else."""
    ground, last, rng = talk.ground, [{"round": number}], talk.rng
    seen = ground.seen

    def follow(kind: str, concept: str, family: str, yes: Sequence[int], pool: Sequence[int], facts: Facts,
               everywhere: Sequence[int] | None = None, **slots: str) -> Follow:  # fmt: skip
        hard = len(things) > 2 and everywhere is not None and sorted(everywhere) != sorted(yes)
        query = query_of(concept, family, kind, yes, pool, **facts)
        words = words_of(talk, kind, yes if kind == "rest" else (), **slots)
        if kind in SINGULAR and len(yes) == 1 and not talk.held and rng.random() < ONE:
            words = partial(one_of_those, kind, rng, **slots)
        return Follow(query, words, last, "whole", hard=hard)

    attributes = [(name, value) for name in CLAUSES for value in (True, False)]
    for k in rng.permutation(len(attributes))[:5]:
        attribute, value = attributes[int(k)]
        yes, ignore = ground.having(attribute, things, value)
        if not any(n in things for n in ignore) and len(yes) < len(things):
            that = choose(rng, CLAUSES[attribute][0 if value else 1][talk.held])
            everywhere, _ = ground.having(attribute, seen, value)
            facts = {"attribute": attribute, "value": value}
            yield follow("of_those", "physics", "composition", yes, things, facts, everywhere, that=that)
    absent = {ground.things[n]["colour"] for n in seen} - {ground.things[n]["colour"] for n in things}
    for colour in sorted({ground.things[n]["colour"] for n in things}) + sorted(absent)[:1]:
        yes, everywhere = (
            [n for n in some if ground.things[n]["colour"] == colour] for some in (things, seen)
        )
        if len(yes) < len(things):
            facts = {"colour": colour}
            yield follow(
                "coloured_of_those", "entities", "instances", yes, things, facts, everywhere, c=colour
            )
        if len(yes) == 1:
            rest = [n for n in things if n not in yes]
            yield follow(
                "all_but", "entities", "instances", rest, things, {"c": colour}, seen, o=f"{colour} one"
            )
    for category in sorted({ground.category(n) for n in things}):
        yes, everywhere = ([n for n in some if ground.category(n) == category] for some in (things, seen))
        if len(yes) < len(things):
            noun, plural = NOUNS[category][0]
            facts = {"category": category}
            yield follow(
                "kind_of_those", "entities", "instances", yes, things, facts, everywhere, n=noun, ns=plural
            )
            if len(yes) == 1:
                rest = [n for n in things if n not in yes]
                yield follow(
                    "all_but", "entities", "instances", rest, things, {"not": category}, seen, o=noun
                )
    for word, n, top in superlatives(ground, things):
        facts = {"sorted": word}
        yield follow("superlative_of_those", "spatial", "order", [n], things, facts, top, sup=word)
        rest = [m for m in things if m != n]
        yield follow("all_but", "spatial", "order", rest, things, facts, seen, o=f"{word} one")
    for name in sorted({p["name"] for n in things for p in talk.scope.parts[n]}):
        parts = [p["id"] for n in things for p in talk.scope.parts[n] if p["name"] == name]
        owners = [n for n in things if any(p["name"] == name for p in talk.scope.parts[n])]
        if len(owners) == len(things) == len(parts):
            made = follow("their_part", "entities", "parts", owners, seen, {"part": name}, p=name, ap=one_part(name),
                          ps=PLURAL_PARTS[name])  # fmt: skip
            made.query.parts = parts
            made.hard = sum(name in [p["name"] for p in talk.scope.parts[m]] for m in seen) > len(things) > 2
            yield made
    rest = [n for n in ground.on_table if n not in things]
    if rest and not ground.glimpsed and all(n in ground.on_table for n in things):
        hard = len(things) > 2
        made = follow("rest", "entities", "groups", rest, ground.on_table, {"but": things})
        made.hard = hard
        yield made
