"""The assistant's side of a dialogue: what it does, and in which words, follows from the facts (intents.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from askmask.world.ground import Ground
from askmask.world.talks.aims import (
    EITHER,
    GOALS,
    NARROWERS,
    Aim,
    Errand,
)
from askmask.world.talks.measures import superlatives
from askmask.world.talks.properties import PROPERTIES, causes
from askmask.world.talks.replies import NUMBERS, Reply, called, groups, listed

NAME = "dialogue"


def reason(ground: Ground, n: int, name: str, value: bool) -> str:
    """Say that a thing has a property or not, and why: "It would roll: it is round and is near the edge."."""
    why = causes(ground, n, name, value)
    because = f": it {' and '.join(why)}" if why else ""
    return f"It {PROPERTIES[name].words(value)}{because}."


def said_of(aim: Aim) -> list[tuple[str, bool]]:
    """The properties that were asked for, each once."""
    asked = {GOALS[aim.goal]["property"]: True}
    asked |= {NARROWERS[wish]["property"]: NARROWERS[wish]["value"] for wish in aim.wishes}
    return list(asked.items())


def does(aim: Aim, *, several: bool) -> str:
    """The predicate of all that was asked for: "would hold water and has a handle"."""
    told = [PROPERTIES[name].words(value, several=several) for name, value in said_of(aim)]
    return told[0] if len(told) == 1 else ", ".join(told[:-1]) + " and " + told[-1]


def counted(talk: Errand) -> Reply:
    """Say whether anything fits, and how many."""
    aim = talk.aim
    assert aim is not None
    count = len(talk.found(aim) or [])
    if not count:
        return Reply(f"No, nothing here {does(aim, several=False)}.")
    things = "one thing" if count == 1 else f"{NUMBERS[count]} things"
    return Reply(f"Yes, {things} {does(aim, several=count > 1)}.")


def shown(talk: Errand, pool: Sequence[int]) -> Reply:
    """Say what is shown and what it does."""
    aim, ground, rng = talk.aim, talk.ground, talk.rng
    assert aim is not None
    named = groups(ground, sorted(pool))
    several = len(pool) > 1
    told = f"is the {aim.sup} of them" if aim.sup else does(aim, several=several)
    form = rng.random()
    if several and len(named) == 1 and len({called(ground, n) for n in pool}) > 1:  # too many to name
        return listed(Reply(), named).add(f" {told}.").ended()
    if several:
        if form < 0.5:
            return listed(Reply(), named).add(f" {told}.").ended()
        return listed(Reply(f"These {told}: "), named).add(".")
    if form < 0.4:
        return listed(Reply(), named).add(f" {told}.").ended()
    if form < 0.7 and aim.one:
        return listed(Reply("Take "), named).add(f": it {told}.")
    return listed(Reply(), named).add(f": it {told}.").ended()


def answer(talk: Errand, act: str, text: str) -> None:
    """Do what the facts ask for: show, say that nothing fits, or ask back."""
    aim = talk.aim
    assert aim is not None
    pool = talk.found(aim) or []
    if not pool:
        nothing = "Nothing else here" if aim.without else "Nothing here"
        add(talk, act, text, "none", Reply(f"{nothing} {does(aim, several=False)}."), [])
        return
    if aim.one and len(pool) > 1 and not aim.without:
        splits = talk.splits(aim)
        sides = {word for word, *_ in superlatives(talk.ground, pool)} if len(pool) == 2 else set()
        things = f"{NUMBERS[len(pool)].capitalize()} things {does(aim, several=True)}"
        if splits:
            add(talk, act, text, "ask", Reply(f"{things}. Should it {NARROWERS[splits[0]]['bare']}?"))
            talk.asked = splits[0]
            return
        if {"leftmost", "rightmost"} <= sides:
            add(talk, act, text, "ask", Reply(f"{things}: the left one or the right one?"))
            talk.asked = EITHER
            return
    add(talk, act, text, "show", shown(talk, pool), pool)


def add(
    talk: Errand, act: str, text: str, state: str, reply: Reply, pool: Sequence[int] | None = None
) -> None:
    """Add a round; `pool` is what it shows, None for words alone."""
    aim, ground, here = talk.aim, talk.ground, len(talk.rounds)
    assert aim is not None
    shown = None if pool is None else sorted(pool)
    references: list[dict[str, Any]] = [{"round": k} for k in aim.since if k < here]
    if act in ("why", "check"):
        references = [
            {"round": max(k for k, r in enumerate(talk.rounds) if r["answer"] and r["answer"]["objects"])}
        ]
    talk.rounds.append(
        {
            "prompt": text,
            "concept": "affordances",
            "family": "intent",
            "kind": f"intent_{state}",
            "answer": None if shown is None else {"objects": shown},
            "ignore": [],
            "candidates": list(ground.seen),
            "satisfying": shown or [],
            "facts": {
                "goal": aim.goal,
                "wishes": list(aim.wishes),
                "sup": aim.sup,
                "act": act,
                "fits": talk.found(aim),
            },
            "shortcuts": {},
            "hard": None,
            "margin": None,
            "negative": "false_attribute" if shown == [] else None,
            "refers_to": references,
            "reply": reply.text,
            "spans": [list(reply.spans[n]) for n in shown or ()],
            "set": NAME,
        }
    )
    if references:
        latest = references[-1]["round"] == here - 1
        talk.rounds[-1]["reference"] = {
            "how": "intent", "latest": latest, "hard": False, "several": len(references) > 1,
        }  # fmt: skip
    talk.state, talk.asked = state, None
    if pool is not None:
        talk.shown = list(shown or ())
    elif state in ("ask", "count"):
        talk.shown = []
