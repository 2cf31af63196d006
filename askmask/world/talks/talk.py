"""One conversation in the making: what a picture offers, what was said so far, what may come next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from askmask.world.facts import Facts
from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import NOUNS
from askmask.world.talks.words import ABOUT, POINTERS, own

MOST = 8  # things in an answer that is still spoken of as a whole
PARTS = frozenset("handle lid label cap blade legs spout stem rim wick pages".split())
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


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
        self.parts = {n: parts_of(ground, n) for n in ground.seen}


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

    def pick(self, bank: str, **slots: str) -> str:
        """Draw a pointer."""
        return str(choose(self.rng, POINTERS[bank][self.held]).format(**slots))


def query_of(
    concept: str, family: str, kind: str, yes: Sequence[int], pool: Sequence[int], **facts: Any
) -> Query:
    """Make a query of a conversation's own; `facts` are what its answer rests on."""
    return Query(
        concept=concept, family=family, kind=kind, satisfying=sorted(yes), candidates=list(pool), facts=facts
    )


def words_of(talk: Talk, kind: str, yes: Sequence[int] = (), **slots: str) -> Callable[[], str]:
    """Put off the choice of words until the follow-up is drawn; `yes`: the answer, where it may have been shown."""
    shown = any(n in said.query.satisfying for said in talk.said[:-1] for n in yes)
    return lambda: own(kind, talk.rng, held=talk.held, shown=shown, **slots)


def parts_of(ground: Ground, n: int) -> list[Facts]:
    """Return the parts of a thing that have a plain name and enough pixels."""
    enough = max(6, 0.0003 * ground.size**2)
    return [
        part
        for part in ground.things[n]["parts"]
        if part["name"] in PARTS and ground.part_pixels.get(part["id"], 0) >= enough
    ]


def one_part(part: str) -> str:
    """Name one part with its article: "a handle", "pages"."""
    return part if part.endswith("s") else f"a {part}"
