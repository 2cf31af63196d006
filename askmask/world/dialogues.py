"""Dialogues: several rounds over one picture, later ones speaking of earlier answers by index or by phrase.

A follow-up takes up one thing of an earlier answer ("what is it standing on?", "the other one", "its
handle") or the whole of it ("of those, the ones that would roll", "everything else on the table").
References say which round, and which of its masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from askmask.world.facts import Facts
from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import CLAUSES, FOLLOW, NOUNS, POINTERS
from askmask.world.prompts import SurfaceMask, answer_of, phrase, to_prompt, words_for

PER_VIEW = 2
ROUNDS = (2, 3, 3, 4)
EMPTY = 0.2  # share of follow-ups without an answer that stay in the draw
MOST = 4  # things in an answer that is still worth speaking of
NAMED_PARTS = frozenset("handle lid label cap blade legs spout stem rim wick pages".split())
SKIPPED = {"one", "same_kind", "part"}  # asked in their own words below


@dataclass(frozen=True, slots=True)
class _Said:
    """A round that was asked: its query and its prompt."""

    query: Query
    prompt: Facts


def dialogues_for(
    ground: Ground,
    found: list[Query],
    surface: SurfaceMask,
    rng: np.random.Generator,
    *,
    held: bool,
    count: int = PER_VIEW,
) -> list[list[Facts]]:
    """Write up to `count` dialogues of two to four rounds for one picture, out of its queries."""
    about: dict[int, list[Query]] = {}
    for query in found:
        if isinstance(query.slots.get("x"), int) and query.kind not in SKIPPED:
            about.setdefault(query.slots["x"], []).append(query)
    openings = [
        q
        for q in found
        if 1 <= len(q.satisfying) <= MOST
        and not q.ignore
        and not q.parts
        and not q.surface
        and q.special is None
    ]
    written: list[list[Facts]] = []
    for _ in range(4 * count):
        if len(written) == count or not openings:
            break
        kind = choose(rng, sorted({q.kind for q in openings}))
        opening = choose(rng, [q for q in openings if q.kind == kind])
        text = words_for(opening, ground, rng, held=held)
        if text is None:
            continue
        talk = _Talk(ground, about, rng, held, surface)
        talk.say(opening, text, ())
        for _ in range(choose(rng, ROUNDS) - 1):
            follow = talk.follow()
            if follow is None:
                break
            query, words, references = follow
            text = words()
            if any(text == earlier.prompt["prompt"] for earlier in talk.said):
                break
            talk.say(query, text, references)
        if len(talk.said) >= 2:
            written.append([s.prompt for s in talk.said])
    return written


def _reply(query: Query, ground: Ground) -> str:
    """Say in words what the masks show."""
    if query.special:
        return f"The {query.special}."
    if query.parts is not None:
        names = {p["id"]: (p["name"], n) for n in ground.things for p in ground.things[n]["parts"]}
        told = [f"the {names[p][0]} of the {_short(ground, names[p][1])}" for p in query.parts]
    else:
        told = [f"the {_short(ground, n)}" for n in sorted(query.satisfying)]
    if not told:
        return "Nothing here matches."
    text = told[0] if len(told) == 1 else ", ".join(told[:-1]) + " and " + told[-1]
    return text[0].upper() + text[1:] + "."


def _short(ground: Ground, n: int) -> str:
    thing = ground.things[n]
    return f"{thing['colour']} {NOUNS[thing['category']][0][0]}"


Follow = tuple[Query, Callable[[], str], list[dict[str, Any]]]  # the words are found only for what is drawn


class _Talk:
    """One dialogue: what was said so far, and what can be said next."""

    def __init__(
        self,
        ground: Ground,
        about: dict[int, list[Query]],
        rng: np.random.Generator,
        held: bool,
        surface: SurfaceMask,
    ):
        self.ground, self.about, self.rng, self.held, self.surface = ground, about, rng, held, surface
        self.said: list[_Said] = []

    def say(self, query: Query, text: str, references: Sequence[Facts]) -> None:
        """Add a round."""
        prompt = to_prompt(query, text, answer_of(query, self.surface))
        prompt["refers_to"] = list(references)
        prompt["reply"] = _reply(query, self.ground)
        self.said.append(_Said(query, prompt))

    def follow(self) -> Follow | None:
        """Find something to say next; mostly of the last answer, at times of an earlier one."""
        rng, said = self.rng, self.said
        rounds = [
            k
            for k, s in enumerate(said)
            if 1 <= len(s.query.satisfying) <= MOST and not s.query.parts and not s.query.surface
        ]
        if not rounds:
            return None
        number = rounds[-1] if rng.random() < 0.75 else int(choose(rng, rounds))
        things = sorted(said[number].query.satisfying)
        if len(things) == 1:
            options = self._of_one(things[0], {"round": number})
        else:
            options = self._of_many(things, number)
            side = _sided(things, self.ground)
            if side is not None:
                word, n = side
                pointer = choose(rng, POINTERS["sided"][self.held]).format(side=word)
                pointed = self._of_one(n, {"round": number, "mask": things.index(n)}, pointer)
                options += pointed[: max(1, len(options))]
        if not options:
            return None
        kind = choose(rng, sorted({query.kind for query, *_ in options}))
        return choose(rng, [option for option in options if option[0].kind == kind])

    def _is_last(self, number: int) -> bool:
        return number == len(self.said) - 1

    def _in_words(self, bank: tuple[Sequence[str], Sequence[str]], **slots: str) -> Callable[[], str]:
        return lambda: choose(self.rng, bank[self.held]).format(**slots)

    def _pointer(self, n: int, noun: str, number: int) -> str:
        """Find words for a thing of an earlier answer."""
        rng, ground, held = self.rng, self.ground, self.held
        others = [m for s in self.said for m in s.query.satisfying if m != n]
        if self._is_last(number) and rng.random() < 0.65:
            return choose(rng, POINTERS["it"][held])
        if noun in [NOUNS[ground.category(m)][0][0] for m in others] or rng.random() < 0.35:
            nth = ("first", "second", "third", "fourth")[number]
            return choose(rng, POINTERS["index"][held]).format(k=nth, number=number + 1)
        return choose(rng, POINTERS["noun"][held]).format(n=noun)

    def _of_one(self, n: int, reference: dict[str, Any], pointer: str | None = None) -> list[Follow]:
        """Everything that can be asked of one thing that an earlier round answered with."""
        ground, rng, held = self.ground, self.rng, self.held
        noun, plural = NOUNS[ground.category(n)][0]
        if pointer is None:
            pointer = self._pointer(n, noun, reference["round"])
        options: list[Follow] = []
        for query in self.about.get(n, ()):
            if query.empty and rng.random() > EMPTY:
                continue
            slots = {**query.slots, "x": pointer}
            options.append((query, partial(phrase, query.kind, slots, rng, held=held), [reference]))
        for part in _named_parts(n, ground):
            query = Query(
                concept="entities",
                family="parts",
                kind="its_part",
                satisfying=[n],
                candidates=ground.seen,
                parts=[part["id"]],
                facts={"part": part["name"], "of": n},
            )
            bank = FOLLOW["its_part" if pointer in _POSSESSIVE else "part_of"]
            options.append((query, self._in_words(bank, p=part["name"], x=pointer), [reference]))
        same = [m for m in ground.seen if m != n and ground.category(m) == ground.category(n)]
        hidden = [m for m in ground.glimpsed if ground.category(m) == ground.category(n)]
        if same and not hidden and pointer in _POSSESSIVE:
            kind = "other_one" if len(same) == 1 else "others"
            query = Query(
                concept="relations",
                family="likeness",
                kind=kind,
                satisfying=same,
                candidates=ground.seen,
                facts={"of": n, "category": ground.category(n)},
            )
            options.append((query, self._in_words(FOLLOW[kind], n=noun, ns=plural), [reference]))
        return options

    def _of_many(self, things: list[int], number: int) -> list[Follow]:
        """What can be asked of a whole earlier answer: a part of it, all but it."""
        if not self._is_last(number):
            return []
        ground, options = self.ground, list[Follow]()

        def add(kind: str, concept: str, family: str, yes: list[int], pool: list[int], facts: Facts, **slots):
            query = Query(
                concept=concept, family=family, kind=kind, satisfying=yes, candidates=pool, facts=facts
            )
            options.append((query, self._in_words(FOLLOW[kind], **slots), [{"round": number}]))

        for attribute in CLAUSES:
            for value in (True, False):
                yes, ignore = ground.having(attribute, things, value)
                if not any(n in things for n in ignore) and 0 < len(yes) < len(things):
                    that = choose(self.rng, CLAUSES[attribute][0 if value else 1][self.held])
                    facts = {"attribute": attribute, "value": value}
                    concept = self.said[number].query.concept
                    add("of_those", concept, "composition", yes, things, facts, that=that)
        for colour in sorted({ground.things[n]["colour"] for n in things}):
            yes = [n for n in things if ground.things[n]["colour"] == colour]
            if len(yes) < len(things):
                facts = {"colour": colour}
                add("coloured_of_those", "entities", "instances", yes, things, facts, c=colour)
        rest = [n for n in ground.on_table if n not in things]
        if rest and not ground.glimpsed and all(n in ground.on_table for n in things):
            add("rest", "entities", "groups", rest, ground.on_table, {"but": things})
        return options


def _sided(things: list[int], ground: Ground) -> tuple[str, int] | None:
    """The leftmost or rightmost of some things, if it is clear which."""
    ranked = sorted((n for n in things if n in ground.seen), key=ground.x)
    if len(ranked) == len(things) and ground.x(ranked[1]) - ground.x(ranked[0]) > 0.05:
        return "leftmost", ranked[0]
    if len(ranked) == len(things) and ground.x(ranked[-1]) - ground.x(ranked[-2]) > 0.05:
        return "rightmost", ranked[-1]
    return None


_POSSESSIVE = frozenset(POINTERS["it"][0] + POINTERS["it"][1])


def _named_parts(n: int, ground: Ground) -> Iterator[Facts]:
    enough = max(6, 0.0003 * ground.size**2)
    for part in ground.things[n]["parts"]:
        if part["name"] in NAMED_PARTS and ground.part_pixels.get(part["id"], 0) >= enough:
            yield part
