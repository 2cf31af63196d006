"""What is said about an answer: a controlled vocabulary, and for each segment the place in the text that names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import NOUNS

NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
MOST_NAMED = 5  # groups of things that a reply lists; more are only counted
FOUND = ("{things}.", "I see {things}.", "That is {things}.", "Here: {things}.", "I found {things}.")
SEVERAL = ("{things}.", "I see {things}.", "These are {things}.", "Here: {things}.", "I found {things}.")
NOTHING = ("Nothing here matches.", "There is nothing like that.", "I find nothing like that here.")
NONE_OF_THEM = ("None of them.", "None of those.", "Not one of them.")
Span = tuple[int, int]


@dataclass(slots=True)
class Reply:
    """A text under construction and the place of each segment's phrase in it, in the order of the answer."""

    text: str = ""
    spans: dict[int, Span] = field(default_factory=dict)  # id of a thing or part -> [start, end)

    def add(self, text: str) -> Reply:
        """Append words."""
        self.text += text
        return self

    def name(self, phrase: str, *ids: int) -> Reply:
        """Append a phrase that names segments."""
        at = (len(self.text), len(self.text) + len(phrase))
        self.spans |= dict.fromkeys(ids, at)
        return self.add(phrase)

    def ended(self) -> Reply:
        """Begin with a capital letter."""
        self.text = self.text[:1].upper() + self.text[1:]
        return self


def called(ground: Ground, n: int) -> str:
    """A thing's colour and noun: "red mug"."""
    return f"{ground.things[n]['colour']} {NOUNS[ground.category(n)][0][0]}"


def described(ground: Ground, n: int) -> str:
    """Name a thing: "the red mug", or "a red mug" where others are the same to the eye."""
    name = called(ground, n)
    alike = any(called(ground, m) == name for m in (*ground.seen, *ground.glimpsed) if m != n)
    return f"{'a' if alike else 'the'} {name}".replace("a orange", "an orange")


def groups(ground: Ground, things: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Put into words what things there are: ("the red mug", [3]), ("two blue books", [1, 4])."""
    alike: dict[str, list[int]] = {}
    for n in things:
        alike.setdefault(called(ground, n), []).append(n)
    found = []
    for members in alike.values():
        if len(members) == 1:
            found.append((described(ground, members[0]), members))
        else:
            plural = NOUNS[ground.category(members[0])][0][1]
            found.append((f"{NUMBERS[len(members)]} {ground.things[members[0]]['colour']} {plural}", members))
    if len(found) > MOST_NAMED:
        return [(f"{NUMBERS[len(things)]} things", list(things))]
    return found


def listed(reply: Reply, named: Sequence[tuple[str, Sequence[int]]]) -> Reply:
    """Append names with commas and "and"."""
    for k, (phrase, ids) in enumerate(named):
        if k:
            reply.add(" and " if k == len(named) - 1 else ", ")
        reply.name(phrase, *ids)
    return reply


def told(query: Query, ground: Ground, rng: np.random.Generator, *, of_those: bool = False) -> Reply:
    """Say what the masks of a query's answer show."""
    if query.empty:
        return Reply(choose(rng, NONE_OF_THEM if of_those else NOTHING))
    if query.special:
        return Reply().name(f"The {query.special}", 0).add(".")
    if query.parts is not None:
        owner = {p["id"]: (p["name"], n) for n in ground.things for p in ground.things[n]["parts"]}
        named = [(f"the {owner[p][0]} of {described(ground, owner[p][1])}", [p]) for p in query.parts]
        if len(named) > MOST_NAMED:
            named = [(f"{NUMBERS[min(len(named), 12)]} parts", query.parts)]
    elif query.surface:
        named = [(f"the top of {described(ground, n)}", [n]) for n in query.satisfying]
    else:
        named = groups(ground, sorted(query.satisfying))
    plural = query.parts is not None and " of " in named[0][0] and named[0][0].split(" of ")[0].endswith("s")
    several = len(named) > 1 or len(named[0][1]) > 1 or plural
    before, after = choose(rng, SEVERAL if several else FOUND).split("{things}")
    return listed(Reply(before), named).add(after).ended()


def spans_of(reply: Reply, query: Query) -> list[Span]:
    """Return the span of each segment, in the order of the answer."""
    if query.special:
        return [reply.spans[0]]
    ids = query.parts if query.parts is not None else sorted(query.satisfying)
    return [reply.spans[n] for n in ids]
