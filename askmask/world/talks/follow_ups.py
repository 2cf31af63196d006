"""What can be asked next of the answers so far: of one thing of them, of a whole answer, of several answers.

Everything here has one right reading. A follow-up is `hard` when the words alone do not do: at least three things
of the kind are in view, they do not say which, and asked of the others the same words would have other answers.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from askmask.world.facts import Facts
from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import CLAUSES, NOUNS
from askmask.world.talks.words import ABOUT, POINTERS, RELATIONS, about, own

EMPTY = 0.2  # share of follow-ups without an answer that stay in the draw
EARLIER = 0.35  # share of follow-ups on one answer that take one further back
SEVERAL = 0.15  # share of rounds that may speak of answers further back as a whole
MOST = 8  # things in an answer that is still spoken of as a whole
PARTS = frozenset("handle lid label cap blade legs spout stem rim wick pages".split())
PLURAL_PARTS = {part: part if part.endswith("s") else part + "s" for part in PARTS}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
RATIO = 1.3  # of two sizes that differ for sure; below 1 / RATIO surely not
SIDE, DEPTH, UP = 0.05, 0.05, 0.02  # widths of the picture, metres, metres: gaps that show an order


@dataclass(slots=True)
class Said:
    """A round that was asked: its query, its stored prompt, and of which thing it asked."""

    query: Query
    prompt: Facts
    first: int  # number of its first segment in the conversation, from 1
    of: int | None = None

    @property
    def things(self) -> list[int]:
        """The things its segments show, in order; none for parts and surfaces."""
        whole = not (self.query.parts or self.query.surface or self.query.special)
        return sorted(self.query.satisfying) if whole else []


@dataclass(slots=True)
class Follow:
    """A question that may come next; its words are found when it is drawn."""

    query: Query
    words: Callable[[], str]
    references: list[dict[str, int]]
    how: str  # key of POINTERS, "whole" (an answer as a whole), "several" (answers), "question" (what was asked)
    hard: bool = False
    of: int | None = None


class Scope:
    """What can be spoken of in one picture: its queries by the thing they are about, and what is looked up often."""

    def __init__(self, ground: Ground, found: Sequence[Query]):
        self.ground = ground
        self.asked: dict[int, dict[str, list[Query]]] = {}  # thing -> kind -> queries about it
        for query in found:
            n = query.slots.get("x")
            if isinstance(n, int) and query.kind in ABOUT:
                self.asked.setdefault(n, {}).setdefault(query.kind, []).append(query)
        self.categories = [q for q in found if q.kind == "category" and q.satisfying and not q.ignore]
        everything = (*ground.seen, *ground.glimpsed)
        alike: dict[str, list[int]] = {}
        for n in ground.seen:
            alike.setdefault(ground.category(n), []).append(n)
        self.kin = {
            n: alike.get(ground.category(n), []) for n in everything
        }  # seen things of its kind, itself too
        self.half_seen = {ground.category(n) for n in ground.glimpsed}
        self.nouns = {n: NOUNS[ground.category(n)][0] for n in everything}
        self.parts = {n: _parts(ground, n) for n in ground.seen}


@dataclass(slots=True)
class Talk:
    """One conversation: what was said so far."""

    scope: Scope
    rng: np.random.Generator
    held: bool
    said: list[Said] = field(default_factory=list)

    @property
    def ground(self) -> Ground:
        """The picture's facts."""
        return self.scope.ground

    def options(self) -> list[Follow]:
        """Return what can be said next, each kind at most a few times."""
        rng, last = self.rng, len(self.said) - 1
        if last < 0:
            return []
        spoken = [k for k, said in enumerate(self.said) if said.things and not said.query.ignore]
        number = choose(rng, spoken) if spoken and (spoken[-1] != last or rng.random() < EARLIER) else last
        found = list(_after(self, last)) if rng.random() < 0.5 else []
        if rng.random() < SEVERAL:
            found += _of_several(self, last)
        if number in spoken:
            things = self.said[number].things
            if len(things) <= 4:
                n = choose(rng, things)
                pointed = _pointer(self, number, n)
                if pointed is not None:
                    found += _of_one(self, n, number, *pointed)
            if number == last:
                found += _corrected(self, things, number)
                if 2 <= len(things) <= MOST:
                    found += _of_many(self, things, number)
        return [f for f in found if not f.query.empty or rng.random() < EMPTY]

    def pick(self, bank: str, **slots: str) -> str:
        """Draw a pointer."""
        return str(choose(self.rng, POINTERS[bank][self.held]).format(**slots))


def _query(
    concept: str, family: str, kind: str, yes: Sequence[int], pool: Sequence[int], **facts: Any
) -> Query:
    return Query(
        concept=concept, family=family, kind=kind, satisfying=sorted(yes), candidates=list(pool), facts=facts
    )


def _pointer(talk: Talk, number: int, n: int) -> tuple[str, str] | None:
    """Find words that point at one thing of an answer and at no other: (how, the words)."""
    said, ground, last = talk.said[number], talk.ground, number == len(talk.said) - 1
    things = said.things
    ways: dict[str, float] = {"name": 0.15, "given": 0.2}
    everything = [m for s in talk.said for m in dict.fromkeys(s.query.satisfying)]
    noun = talk.scope.nouns[n][0]
    if len({m for m in everything if talk.scope.nouns[m][0] == noun}) == 1:
        ways["noun"] = 0.15 if last else 0.4
    if len(things) == 1:
        ways["index"] = 0.1 if last else 0.35
        if last:
            ways["it" if said.of is None else "newest"] = 1.0
        elif number == len(talk.said) - 2 and talk.said[-1].query.empty and talk.said[-1].of == n:
            ways["it"] = 0.8  # nothing was found about it: it is still spoken of
    elif last:
        side = _sided(things, ground)
        if side is not None and side[1] == n:
            ways["sided"] = 1.0
        if _apart(things, n, ground) is not None:
            ways["spoken"] = 1.0
    names = sorted(ways)
    edges = list(accumulate(ways[name] for name in names))
    how = names[bisect(edges, talk.rng.random() * edges[-1])]
    if how == "sided":
        word = side[0]  # type: ignore[index]
        return how, talk.pick(how, side=word, way=word.removesuffix("most"))
    if how == "spoken":
        return how, talk.pick(how, o=_apart(things, n, ground) or "")
    return how, talk.pick(
        how,
        n=noun,
        number=str(number + 1),
        k=ORDINALS[number],
        m=f"m{said.first + things.index(n)}",
    )


def _sided(things: Sequence[int], ground: Ground) -> tuple[str, int] | None:
    """The leftmost or rightmost of some things, if it is clear which."""
    if len(things) < 2:
        return None
    ranked = sorted((n for n in things if n in ground.seen), key=ground.x)
    if len(ranked) < len(things):
        return None
    if ground.x(ranked[1]) - ground.x(ranked[0]) > SIDE:
        return "leftmost", ranked[0]
    if ground.x(ranked[-1]) - ground.x(ranked[-2]) > SIDE:
        return "rightmost", ranked[-1]
    return None


def _apart(things: Sequence[int], n: int, ground: Ground) -> str | None:
    """Words that tell a thing from the others of an answer: "red one", "mug"; None if neither does."""
    kind, colour = ground.category(n), ground.things[n]["colour"]
    if sum(ground.things[m]["colour"] == colour for m in things) == 1:
        return f"{colour} one"
    return NOUNS[kind][0][0] if sum(ground.category(m) == kind for m in things) == 1 else None


def _of_one(talk: Talk, n: int, number: int, how: str, pointer: str) -> Iterator[Follow]:
    """Everything that can be asked of one thing of an earlier answer."""
    ground, things = talk.ground, talk.said[number].things
    reference = {"round": number} | ({"mask": things.index(n)} if len(things) > 1 else {})
    kin = talk.scope.kin[n]

    for kind, queries in talk.scope.asked.get(n, {}).items():
        for query in queries:
            yield Follow(
                query,
                lambda kind=kind: about(kind, pointer, talk.rng, held=talk.held),  # type: ignore[misc]
                [reference],
                how,
                hard=len(kin) > 2 and _differs(talk, n, kind, query),
                of=n,
            )
    for part in talk.scope.parts[n]:
        many = sum(any(p["name"] == part["name"] for p in talk.scope.parts[m]) for m in kin)
        query = _query("entities", "parts", "its_part" if how == "it" else "part_of", [n], ground.seen,
                       part=part["name"], of=n)  # fmt: skip
        query.parts = [part["id"]]
        slots = {"p": part["name"], "x": pointer}
        yield Follow(query, _words(talk, query.kind, **slots), [reference], how, hard=many > 2, of=n)
    if ground.things[n]["place"] == "table" and not ground.view[n]["cut"]:
        yield from _compared(talk, n, pointer, reference, how)


def _differs(talk: Talk, n: int, kind: str, query: Query) -> bool:
    """Whether the same question has other answers for at least two others of the thing's kind, one not empty."""
    others = [
        q.satisfying
        for m in talk.scope.kin[n]
        if m != n
        for q in talk.scope.asked.get(m, {}).get(kind, ())[:1]
    ]
    other = [yes for yes in others if sorted(yes) != sorted(query.satisfying)]
    return len(other) >= 2 and any(other)


def _words(talk: Talk, kind: str, **slots: str) -> Callable[[], str]:
    return lambda: own(kind, talk.rng, held=talk.held, **slots)


def _parts(ground: Ground, n: int) -> list[Facts]:
    enough = max(6, 0.0003 * ground.size**2)
    return [
        part
        for part in ground.things[n]["parts"]
        if part["name"] in PARTS and ground.part_pixels.get(part["id"], 0) >= enough
    ]


def _volume(ground: Ground, n: int) -> float:
    return math.prod(ground.things[n]["size"])


def _height(ground: Ground, n: int) -> float:
    height: float = ground.things[n]["size"][2]
    return height


def _compared(talk: Talk, n: int, pointer: str, reference: dict[str, int], how: str) -> Iterator[Follow]:
    ground = talk.ground
    if ground.glimpsed or any(ground.view[m]["cut"] for m in ground.on_table):
        return
    pool = [m for m in ground.on_table if m != n]
    for word, measure, ratio, more in (
        ("taller", _height, RATIO, True),
        ("bigger", _volume, 2 * RATIO, True),
        ("smaller", _volume, 2 * RATIO, False),
    ):
        own_size = measure(ground, n)
        sizes = {m: measure(ground, m) / own_size for m in pool}
        if more:
            yes, no = [m for m in pool if sizes[m] > ratio], [m for m in pool if sizes[m] < 1]
        else:
            yes, no = [m for m in pool if sizes[m] < 1 / ratio], [m for m in pool if sizes[m] > 1]
        unsure = [m for m in pool if m not in yes and m not in no]
        if len(unsure) > 1 or len(yes) == len(pool):
            continue
        query = _query("entities", "size", "compare", yes, pool, of=n, compared=word)
        query.ignore = unsure
        if query.empty and unsure:
            continue
        kin = talk.scope.kin[n]
        yield Follow(query, _words(talk, "compare", x=pointer, comp=word), [reference], how,
                     hard=len(kin) > 2, of=n)  # fmt: skip


def _corrected(talk: Talk, things: Sequence[int], number: int) -> Iterator[Follow]:
    """No, not that one: another of its kind, by relation or quality; none of those at all."""
    ground, last = talk.ground, [{"round": number}]
    if len(things) > 1:
        for query in talk.scope.categories:
            category = query.facts["category"]
            if not set(query.satisfying) & set(things) and len(query.satisfying) <= MOST:
                noun, plural = NOUNS[category][0]
                new = _query("entities", "instances", "reject_all", query.satisfying, query.candidates,
                             category=category)  # fmt: skip
                yield Follow(new, _words(talk, "reject_all", n=noun, ns=plural), last, "whole")
        return
    n = things[0]
    kin, (noun, plural) = talk.scope.kin[n], talk.scope.nouns[n]
    others = [m for m in kin if m != n]
    if others and ground.category(n) not in talk.scope.half_seen:
        kind = "other_one" if len(others) == 1 else "others"
        query = _query("relations", "likeness", kind, others, ground.seen, of=n, category=ground.category(n))
        yield Follow(query, _words(talk, kind, n=noun, ns=plural), last, "whole", hard=len(kin) > 2, of=n)
        for colour in sorted({ground.things[m]["colour"] for m in others} - {ground.things[n]["colour"]}):
            yes = [m for m in others if ground.things[m]["colour"] == colour]
            if len(yes) == 1:
                word = "one" if talk.rng.random() < 0.7 else noun
                query = _query(
                    "entities", "instances", "correct_to_quality", yes, ground.seen, of=n, c=colour
                )
                alike = sum(ground.things[m]["colour"] == colour for m in ground.seen)
                words = _words(talk, "correct_to_quality", o=f"{colour} {word}")
                yield Follow(query, words, last, "whole", hard=word == "one" and alike > 2, of=n)
    for relation, words in RELATIONS.items():
        for query in talk.scope.asked.get(n, {}).get(relation, ()):
            if query.ignore or query.parts:
                continue
            alike = [m for m in query.satisfying if m in others]
            yes, word = (query.satisfying, "one") if len(query.satisfying) == 1 else (alike, noun)
            if len(yes) != 1 or (word == "one" and alike not in ([], list(yes))):
                continue
            new = _query(query.concept, query.family, "correct_to_relation", yes, query.candidates,
                         of=n, relation=relation)  # fmt: skip
            text = _words(talk, "correct_to_relation", o=word, rel=choose(talk.rng, words))
            yield Follow(new, text, last, "whole", hard=len(kin) > 2, of=n)


def _of_many(talk: Talk, things: list[int], number: int) -> Iterator[Follow]:
    """What can be asked of an answer of several things: some of them, all but one, their parts, all else."""
    ground, last, rng = talk.ground, [{"round": number}], talk.rng
    seen = ground.seen

    def follow(kind: str, concept: str, family: str, yes: Sequence[int], pool: Sequence[int], facts: Facts,
               everywhere: Sequence[int] | None = None, **slots: str) -> Follow:  # fmt: skip
        hard = len(things) > 2 and everywhere is not None and sorted(everywhere) != sorted(yes)
        query = _query(concept, family, kind, yes, pool, **facts)
        return Follow(query, _words(talk, kind, **slots), last, "whole", hard=hard)

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
            made = follow("their_part", "entities", "parts", owners, seen, {"part": name}, p=name,
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


def superlatives(ground: Ground, things: Sequence[int]) -> Iterator[tuple[str, int, list[int]]]:
    """Yield (word, which of the things, which of all on the table) as far as the order shows clearly."""
    if any(ground.view[n]["cut"] or ground.things[n]["place"] != "table" for n in things):
        return
    for word, measure, last in (
        ("leftmost", ground.x, False),
        ("rightmost", ground.x, True),
        ("nearest", ground.far, False),
        ("farthest", ground.far, True),
        ("tallest", lambda n: math.log(_height(ground, n)), True),
        ("biggest", lambda n: math.log(_volume(ground, n)) / 2, True),
        ("smallest", lambda n: math.log(_volume(ground, n)) / 2, False),
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


def _after(talk: Talk, last: int) -> Iterator[Follow]:
    """What only the last round makes possible: the whole of a part, what a narrowing left out, the same of another."""
    ground, said = talk.ground, talk.said[last]
    query = said.query
    if query.parts and len(query.parts) == 1 and len(query.satisfying) == 1:
        n = query.satisfying[0]
        name = next(p["name"] for p in ground.things[n]["parts"] if p["id"] == query.parts[0])
        new = _query("entities", "parts", "whole_of", [n], ground.seen, of=n)
        yield Follow(new, _words(talk, "whole_of", p=name), [{"round": last}], "whole",
                     hard=len(talk.scope.kin[n]) > 2, of=n)  # fmt: skip
    narrowed = said.prompt["refers_to"]
    if len(narrowed) == 1 and "mask" not in narrowed[0] and said.of is None:
        pair = talk.said[narrowed[0]["round"]].things
        if len(pair) == 2 and len(said.things) == 1 and set(said.things) < set(pair):
            rest = [n for n in pair if n not in said.things]
            new = _query("entities", "groups", "remaining", rest, pair, but=said.things)
            references = [narrowed[0], {"round": last}]
            yield Follow(new, _words(talk, "remaining"), references, "several")
    if said.of is not None and query.kind in ABOUT:
        others = [n for n in talk.scope.asked if n != said.of and query.kind in talk.scope.asked[n]]
        for n in others[:6]:
            name = ground.name(n, talk.rng)
            new = talk.scope.asked[n][query.kind][0]
            if name is not None and new.satisfying != query.satisfying:
                yield Follow(new, _words(talk, "ellipsis", x=name), [{"round": last}], "question", of=n)


def _of_several(talk: Talk, last: int) -> Iterator[Follow]:
    """What speaks of answers further back: one again, all together, one without another."""
    whole = [(k, said.things) for k, said in enumerate(talk.said) if said.things and not said.query.ignore]
    pool = talk.ground.seen
    earlier = [(k, things) for k, things in whole if k < last and things != talk.said[last].things]
    if earlier:
        k, things = choose(talk.rng, earlier)
        query = _query("entities", "groups", "again", things, pool, round=k + 1)
        words = _words(talk, "again", k=ORDINALS[k], number=str(k + 1))
        yield Follow(query, words, [{"round": k}], "index", hard=_some_of_many(talk, things))
    answered = [k for k, said in enumerate(talk.said) if not said.query.empty]
    union = sorted({n for _, things in whole for n in things})
    if len(answered) == len(whole) > 1 and len(union) <= MOST and all(union != t for _, t in whole):
        query = _query("entities", "groups", "union", union, pool)
        yield Follow(query, lambda: _together(talk, len(whole)), [{"round": k} for k in answered], "several",
                     hard=_some_of_many(talk, union))  # fmt: skip
    for k, things in whole:
        for j, others in whole:
            rest = [n for n in things if n not in others]
            if j != k and rest and len(rest) < len(things):
                query = _query("entities", "groups", "minus", rest, things, but=others)
                slots = {"k": ORDINALS[k], "j": ORDINALS[j], "number": str(k + 1), "other": str(j + 1)}
                words = _words(talk, "minus", **slots)
                yield Follow(query, words, [{"round": k}, {"round": j}], "several",
                             hard=_some_of_many(talk, rest))  # fmt: skip


def _some_of_many(talk: Talk, things: Sequence[int]) -> bool:
    """Whether things are meant of a kind that has three or more in view, but not all of it."""
    return any(len(kin) > 2 and not set(kin) <= set(things) for kin in (talk.scope.kin[n] for n in things))


def _together(talk: Talk, count: int) -> str:
    while True:
        text = own("union", talk.rng, held=talk.held)
        if count == 2 or not {"both", "two"} & set(text.split()):
            return text
