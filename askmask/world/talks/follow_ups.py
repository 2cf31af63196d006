"""What can be asked next of the answers so far: of one thing of them, of a whole answer, of several answers.

Everything here has one right reading. A follow-up is `hard` when the words alone do not do: at least three things
of the kind are in view, they do not say which, and asked of the others the same words would have other answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from askmask.world.ground import Query, choose
from askmask.world.phrases import NOUNS
from askmask.world.talks.measures import RATIO, height, volume
from askmask.world.talks.of_many import of_many
from askmask.world.talks.pointers import pointer
from askmask.world.talks.talk import (
    MOST,
    ORDINALS,
    Follow,
    Talk,
    one_part,
    query_of,
    words_of,
)
from askmask.world.talks.words import ABOUT, RELATIONS, about, own

EMPTY = 0.2  # share of follow-ups without an answer that stay in the draw
EARLIER = 0.35  # share of follow-ups on one answer that take one further back
SEVERAL = 0.15  # share of rounds that may speak of answers further back as a whole


def options(talk: Talk) -> list[Follow]:
    """Return what can be said next: of one answer, mostly the latest, at times of several."""
    rng, last = talk.rng, len(talk.said) - 1
    if last < 0:
        return []
    spoken = [k for k, said in enumerate(talk.said) if said.things and not said.query.ignore]
    number = choose(rng, spoken) if spoken and (spoken[-1] != last or rng.random() < EARLIER) else last
    found = list(_after(talk, last)) if rng.random() < 0.5 else []
    if rng.random() < SEVERAL:
        found += _of_several(talk, last)
    if number in spoken:
        things = talk.said[number].things
        if len(things) <= 4:
            n = choose(rng, things)
            pointed = pointer(talk, number, n)
            if pointed is not None:
                found += _of_one(talk, n, number, *pointed)
        if number == last:
            found += _corrected(talk, things, number)
            if 2 <= len(things) <= MOST:
                found += of_many(talk, things, number)
    return [f for f in found if not f.query.empty or rng.random() < EMPTY]


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
        query = query_of("entities", "parts", "its_part" if how == "it" else "part_of", [n], ground.seen,
                       part=part["name"], of=n)  # fmt: skip
        query.parts = [part["id"]]
        slots = {"p": part["name"], "ap": one_part(part["name"]), "x": pointer}
        yield Follow(query, words_of(talk, query.kind, **slots), [reference], how, hard=many > 2, of=n)
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


def _compared(talk: Talk, n: int, pointer: str, reference: dict[str, int], how: str) -> Iterator[Follow]:
    ground = talk.ground
    if ground.glimpsed or any(ground.view[m]["cut"] for m in ground.on_table):
        return
    pool = [m for m in ground.on_table if m != n]
    for word, measure, ratio, more in (
        ("taller", height, RATIO, True),
        ("bigger", volume, 2 * RATIO, True),
        ("smaller", volume, 2 * RATIO, False),
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
        query = query_of("entities", "size", "compare", yes, pool, of=n, compared=word)
        query.ignore = unsure
        if query.empty and unsure:
            continue
        kin = talk.scope.kin[n]
        yield Follow(query, words_of(talk, "compare", x=pointer, comp=word), [reference], how,
                     hard=len(kin) > 2, of=n)  # fmt: skip


def _corrected(talk: Talk, things: Sequence[int], number: int) -> Iterator[Follow]:
    """No, not that one: another of its kind, by relation or quality; none of those at all."""
    ground, last = talk.ground, [{"round": number}]
    if len(things) > 1:
        for query in talk.scope.categories:
            category = query.facts["category"]
            if not set(query.satisfying) & set(things) and len(query.satisfying) <= MOST:
                noun, plural = NOUNS[category][0]
                new = query_of("entities", "instances", "reject_all", query.satisfying, query.candidates,
                             category=category)  # fmt: skip
                yield Follow(new, words_of(talk, "reject_all", n=noun, ns=plural), last, "whole")
        return
    n = things[0]
    kin, (noun, plural) = talk.scope.kin[n], talk.scope.nouns[n]
    others = [m for m in kin if m != n]
    if others and ground.category(n) not in talk.scope.half_seen:
        kind = "other_one" if len(others) == 1 else "others"
        query = query_of(
            "relations", "likeness", kind, others, ground.seen, of=n, category=ground.category(n)
        )
        yield Follow(
            query, words_of(talk, kind, others, n=noun, ns=plural), last, "whole", hard=len(kin) > 2, of=n
        )
        for colour in sorted({ground.things[m]["colour"] for m in others} - {ground.things[n]["colour"]}):
            yes = [m for m in others if ground.things[m]["colour"] == colour]
            if len(yes) == 1:
                word = "one" if talk.rng.random() < 0.7 else noun
                query = query_of(
                    "entities", "instances", "correct_to_quality", yes, ground.seen, of=n, c=colour
                )
                alike = sum(ground.things[m]["colour"] == colour for m in ground.seen)
                words = words_of(talk, "correct_to_quality", o=f"{colour} {word}")
                yield Follow(query, words, last, "whole", hard=word == "one" and alike > 2, of=n)
    for relation, phrasings in RELATIONS.items():
        for query in talk.scope.asked.get(n, {}).get(relation, ()):
            if query.ignore or query.parts:
                continue
            alike = [m for m in query.satisfying if m in others]
            yes, word = (query.satisfying, "one") if len(query.satisfying) == 1 else (alike, noun)
            if len(yes) != 1 or (word == "one" and alike not in ([], list(yes))):
                continue
            new = query_of(query.concept, query.family, "correct_to_relation", yes, query.candidates,
                         of=n, relation=relation)  # fmt: skip
            text = words_of(talk, "correct_to_relation", o=word, rel=choose(talk.rng, phrasings))
            yield Follow(new, text, last, "whole", hard=len(kin) > 2, of=n)


def _after(talk: Talk, last: int) -> Iterator[Follow]:
    """What only the last round makes possible: the whole of a part, what a narrowing left out, the same of another."""
    ground, said = talk.ground, talk.said[last]
    query = said.query
    if query.parts and len(query.parts) == 1 and len(query.satisfying) == 1:
        n = query.satisfying[0]
        name = next(p["name"] for p in ground.things[n]["parts"] if p["id"] == query.parts[0])
        new = query_of("entities", "parts", "whole_of", [n], ground.seen, of=n)
        yield Follow(new, words_of(talk, "whole_of", p=name), [{"round": last}], "whole",
                     hard=len(talk.scope.kin[n]) > 2, of=n)  # fmt: skip
    narrowed = said.prompt["refers_to"]
    if len(narrowed) == 1 and "mask" not in narrowed[0] and said.of is None:
        pair = talk.said[narrowed[0]["round"]].things
        if len(pair) == 2 and len(said.things) == 1 and set(said.things) < set(pair):
            rest = [n for n in pair if n not in said.things]
            new = query_of("entities", "groups", "remaining", rest, pair, but=said.things)
            references = [narrowed[0], {"round": last}]
            yield Follow(new, words_of(talk, "remaining"), references, "several")
    if said.of is not None and query.kind in ABOUT:
        others = [n for n in talk.scope.asked if n != said.of and query.kind in talk.scope.asked[n]]
        for n in others[:6]:
            name = ground.name(n, talk.rng)
            new = talk.scope.asked[n][query.kind][0]
            if name is not None and new.satisfying != query.satisfying:
                yield Follow(new, words_of(talk, "ellipsis", x=name), [{"round": last}], "question", of=n)


def _of_several(talk: Talk, last: int) -> Iterator[Follow]:
    """What speaks of answers further back: one again, all together, one without another."""
    whole = [(k, said.things) for k, said in enumerate(talk.said) if said.things and not said.query.ignore]
    pool = talk.ground.seen
    earlier = [(k, things) for k, things in whole if k < last and things != talk.said[last].things]
    if earlier:
        k, things = choose(talk.rng, earlier)
        query = query_of("entities", "groups", "again", things, pool, round=k + 1)
        words = words_of(talk, "again", k=ORDINALS[k], number=str(k + 1))
        yield Follow(query, words, [{"round": k}], "index", hard=_some_of_many(talk, things))
    answered = [k for k, said in enumerate(talk.said) if not said.query.empty]
    union = sorted({n for _, things in whole for n in things})
    if len(answered) == len(whole) > 1 and len(union) <= MOST and all(union != t for _, t in whole):
        query = query_of("entities", "groups", "union", union, pool)
        yield Follow(query, lambda: _together(talk, len(whole)), [{"round": k} for k in answered], "several",
                     hard=_some_of_many(talk, union))  # fmt: skip
    for k, things in whole:
        for j, others in whole:
            rest = [n for n in things if n not in others]
            if j != k and rest and len(rest) < len(things):
                query = query_of("entities", "groups", "minus", rest, things, but=others)
                slots: dict[str, Any] = {
                    "k": ORDINALS[k],
                    "j": ORDINALS[j],
                    "number": str(k + 1),
                    "other": str(j + 1),
                }
                words = words_of(talk, "minus", **slots)
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
