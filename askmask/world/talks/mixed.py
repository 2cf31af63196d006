"""Conversations that train and pass from one sort to the other: things found first, then an intent; or the reverse.

Somebody who asked for a mug and its handle goes on with "I am thirsty", and says "its lid" of what that brought.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from askmask.world.facts import Facts
from askmask.world.ground import Ground, Query, choose
from askmask.world.prompts import SurfaceMask
from askmask.world.talks.memory import openings_of, write
from askmask.world.talks.talk import ORDINALS, Said, Scope, Talk

SHARE = 0.3  # of dialogues that begin as a conversation, and of conversations that begin as a dialogue
ROUNDS_FIRST = (1, 1, 2, 2, 3)  # rounds of a conversation before a dialogue
ROUNDS_AFTER = (1, 2, 2, 3, 4)  # and after one


def mixed(
    ground: Ground,
    found: list[Query],
    surface: SurfaceMask,
    rng: np.random.Generator,
    conversations: Sequence[list[Facts]],
    dialogues: Sequence[list[Facts]],
) -> list[list[Facts]]:
    """Return all of them, some joined with rounds of the other sort."""
    scope, openings = Scope(ground, found), openings_of(ground, found)
    told: list[list[Facts]] = []
    for rounds in conversations:
        if dialogues and openings and rng.random() < SHARE:
            talk = Talk(scope, rng, False, said=_said(choose(rng, dialogues)))
            length = min(
                len(ORDINALS), len(talk.said) + choose(rng, ROUNDS_AFTER)
            )  # rounds are called by these
            rounds = write(talk, openings, length, surface)
        told.append(rounds)
    for rounds in dialogues:
        if conversations and rng.random() < SHARE:
            rounds = joined(choose(rng, conversations)[: choose(rng, ROUNDS_FIRST)], rounds)
        told.append(rounds)
    return told


def joined(first: Sequence[Facts], then: Sequence[Facts]) -> list[Facts]:
    """Put the rounds of one conversation before those of another, whose references move on by as many."""
    moved = []
    for prompt in then:
        references = [{**one, "round": one["round"] + len(first)} for one in prompt["refers_to"]]
        moved.append({**prompt, "refers_to": references})
    return [*first, *moved]


def _said(rounds: Sequence[Facts]) -> list[Said]:
    said: list[Said] = []
    for prompt in rounds:
        first = said[-1].first + len(said[-1].prompt["spans"]) if said else 1
        query = Query(
            concept=prompt["concept"],
            family=prompt["family"],
            kind=prompt["kind"],
            satisfying=list(prompt["satisfying"]),
            candidates=list(prompt["candidates"]),
        )
        said.append(Said(query, dict(prompt), first))
    return said
