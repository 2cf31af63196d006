"""What a user is after and wishes of it; what of the picture fits, as far as the facts are certain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from askmask.world.facts import Facts
from askmask.world.ground import Ground, choose
from askmask.world.talks.measures import superlatives
from askmask.world.talks.words import read

_DATA = read("intents.json")
GOALS: dict[str, Facts] = _DATA["goals"]
NARROWERS: dict[str, Facts] = _DATA["narrowers"]
SUPERLATIVES: dict[str, Facts] = _DATA["superlatives"]
ACTS: dict[str, Facts] = _DATA["acts"]
CHECKS: dict[str, Facts] = _DATA["checks"]
ON_TABLE = frozenset(("cat", "move_table", "bump", "tidy"))  # goals that speak of what stands on the table
EITHER = "either"  # the question "the left one or the right one?"


def evenly(rng: np.random.Generator, known: Mapping[str, bool | None]) -> str:
    """Choose what is asked about a thing: what is so as often as what is not, though most is denied of most."""
    sure = [[name for name, value in known.items() if value is so] for so in (True, False)]
    return str(choose(rng, choose(rng, [names for names in sure if names])))


@dataclass(frozen=True, slots=True)
class Aim:
    """What is looked for at one moment."""

    goal: str
    wishes: tuple[str, ...] = ()
    sup: str | None = None
    without: tuple[int, ...] = ()  # what was shown and was not meant
    since: tuple[int, ...] = ()  # rounds that say it

    @property
    def one(self) -> bool:
        """Whether one thing is needed, not all that fit."""
        return bool(GOALS[self.goal]["one"])


def wishes_of(aim: Aim) -> dict[str, Facts]:
    """The wishes that somebody with this goal might have."""
    return {name: wish for name, wish in NARROWERS.items() if aim.goal in wish.get("for", GOALS)}


@dataclass(slots=True)
class Errand:
    """One dialogue in the making: what the picture offers, what was said, what is looked for now."""

    ground: Ground
    rng: np.random.Generator
    held: bool
    known: dict[str, dict[int, bool | None]]
    fits: dict[str, list[int]]  # goal -> what fits it
    rounds: list[Facts] = field(default_factory=list)
    aim: Aim | None = None
    state: str = ""  # what the assistant did last: show, none, ask, count, words
    shown: list[int] = field(default_factory=list)
    asked: str | None = None  # the narrower of the last question, or EITHER

    def say(self, bank: Facts, **slots: str) -> str:
        """Draw words of a bank."""
        return str(choose(self.rng, bank["held_out" if self.held else "train"])).format(**slots)

    def found(self, aim: Aim) -> list[int] | None:
        """Return what fits; None if that is not certain."""
        pool = [n for n in self.fits[aim.goal] if n not in aim.without]
        for wish in aim.wishes:
            prop, value = NARROWERS[wish]["property"], NARROWERS[wish]["value"]
            if any(self.known[prop][n] is None for n in pool):
                return None
            pool = [n for n in pool if self.known[prop][n] is value]
        if aim.sup and len(pool) > 1:
            return next(([n] for word, n, _ in superlatives(self.ground, pool) if word == aim.sup), None)
        return pool

    def splits(self, aim: Aim) -> list[str]:
        """Return wishes that some of what fits has and some has not, the most even first."""
        pool = self.found(aim) or []
        even: list[tuple[float, int, str]] = []
        for k, (name, wish) in enumerate(wishes_of(aim).items()):
            facts = [self.known[wish["property"]][n] for n in pool]
            yes = facts.count(wish["value"])
            if None not in facts and 0 < yes < len(pool):
                even.append((abs(yes - len(pool) / 2), k, name))
        return [name for *_, name in sorted(even)]


def fitting(ground: Ground, goal: str, known: dict[str, dict[int, bool | None]]) -> list[int] | None:
    """Return what fits a goal; None if that is not certain of every thing that shows."""
    facts = known[GOALS[goal]["property"]]
    pool = ground.on_table if goal in ON_TABLE else ground.seen
    if any(value is None or (value and n not in pool) for n, value in facts.items()):
        return None
    return [n for n in pool if facts[n]]
