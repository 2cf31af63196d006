"""Dialogues about an intent that moves: what the user needs, narrowed, corrected, dropped for another; words and masks.

The user never names what is looked for. What the assistant does follows from the facts by one rule:

    how many, is there    words alone: whether anything fits, and how many
    nothing fits          says so; the answer is empty
    one thing is needed   one fits: it is shown. Several fit: words alone, a question that tells them apart
    all are meant         all that fit are shown; so too when the user does not mind which
    why, would it ...     words alone, from the facts
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np

from askmask.world.facts import Facts
from askmask.world.ground import Ground, choose
from askmask.world.phrases import NOUNS
from askmask.world.talks.follow_ups import superlatives
from askmask.world.talks.properties import PROPERTIES, causes, values
from askmask.world.talks.replies import NUMBERS, Reply, called, groups, listed
from askmask.world.talks.words import read

NAME = "dialogue"
TURNS = (2, 3, 3, 4, 4, 5, 6)
ASKED_FIRST = 0.3  # share of needs put as "is there anything ...?"
WITH_WISH = 0.25  # share of needs that come with a wish
LEAKED = 0.15  # share of dialogues that stay although the assistant has already named the final target
_DATA = read("intents.json")
GOALS: dict[str, Facts] = _DATA["goals"]
NARROWERS: dict[str, Facts] = _DATA["narrowers"]
SUPERLATIVES: dict[str, Facts] = _DATA["superlatives"]
ACTS: dict[str, Facts] = _DATA["acts"]
CHECKS: dict[str, Facts] = _DATA["checks"]
ON_TABLE = frozenset(("cat", "move_table", "bump", "tidy"))  # goals that speak of what stands on the table
MOST_SHOWN = 5  # things that fit what is asked of all
EITHER = "either"  # the question "the left one or the right one?"


@dataclass(frozen=True, slots=True)
class _Aim:
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


@dataclass(slots=True)
class _Talk:
    ground: Ground
    rng: np.random.Generator
    held: bool
    known: dict[str, dict[int, bool | None]]
    fits: dict[str, list[int]]  # goal -> what fits it
    rounds: list[Facts] = field(default_factory=list)
    aim: _Aim | None = None
    state: str = ""  # what the assistant did last: show, none, ask, count, words
    shown: list[int] = field(default_factory=list)
    asked: str | None = None  # the narrower of the last question, or EITHER

    def say(self, bank: Facts, **slots: str) -> str:
        """Draw words of a bank."""
        return str(choose(self.rng, bank["held_out" if self.held else "train"])).format(**slots)

    def found(self, aim: _Aim) -> list[int] | None:
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

    def splits(self, aim: _Aim) -> list[str]:
        """Return wishes that some of what fits has and some has not, the most even first."""
        pool = self.found(aim) or []
        even: list[tuple[float, int, str]] = []
        for k, (name, wish) in enumerate(NARROWERS.items()):
            facts = [self.known[wish["property"]][n] for n in pool]
            yes = facts.count(wish["value"])
            if None not in facts and 0 < yes < len(pool):
                even.append((abs(yes - len(pool) / 2), k, name))
        return [name for *_, name in sorted(even)]


def dialogues_for(ground: Ground, rng: np.random.Generator, *, held: bool, count: int) -> list[list[Facts]]:
    """Write up to `count` dialogues for one picture."""
    known = {name: values(ground, name) for name in PROPERTIES}
    fits = {goal: yes for goal in GOALS if (yes := _fitting(ground, goal, known)) is not None}
    written: list[list[Facts]] = []
    for _ in range(4 * count):
        if len(written) == count or not fits:
            break
        talk = _Talk(ground, rng, held, known, fits)
        _write(talk, choose(rng, TURNS))
        rounds = talk.rounds
        if len(rounds) < 2 or not any(r["answer"] is not None and r["answer"]["objects"] for r in rounds):
            continue
        leaked = leakage(rounds, ground.things)
        if not leaked["user"] and (not leaked["assistant"] or rng.random() < LEAKED):
            written.append(rounds)
    return written


def leakage(dialogue: Sequence[Facts], things: dict[int, Facts]) -> dict[str, bool]:
    """Say who has already named a target of the last masks when they are asked for, in the final request or before.

    The user by a name of its kind; the assistant, in an earlier reply, by its colour and noun.
    """
    last = max(
        (k for k, r in enumerate(dialogue) if r["answer"] and r["answer"].get("objects")), default=None
    )
    if last is None:
        return {"user": False, "assistant": False}
    targets = [things[n] for n in dialogue[last]["answer"]["objects"]]
    asked = [f" {_plain(r['prompt'])} " for r in dialogue[: last + 1]]
    told = [f" {_plain(r['reply'])} " for r in dialogue[:last]]
    names = {name for t in targets for pair in NOUNS[t["category"]] for name in pair}
    phrases = {f"{t['colour']} {name}" for t in targets for name in NOUNS[t["category"]][0]}
    return {
        "user": any(f" {name} " in text for name in names for text in asked),
        "assistant": any(f" {phrase} " in text for phrase in phrases for text in told),
    }


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else " " for c in text.lower())


def _fitting(ground: Ground, goal: str, known: dict[str, dict[int, bool | None]]) -> list[int] | None:
    """Return what fits a goal; None if that is not certain of every thing that shows."""
    facts = known[GOALS[goal]["property"]]
    pool = ground.on_table if goal in ON_TABLE else ground.seen
    if any(value is None or (value and n not in pool) for n, value in facts.items()):
        return None
    return [n for n in pool if facts[n]]


def _write(talk: _Talk, length: int) -> None:
    if not _need(talk, drift=False):
        return
    for _ in range(8 * length):
        settled = talk.state in ("show", "none")
        if len(talk.rounds) >= length + 2 or (len(talk.rounds) >= length and settled):
            return
        done = [r["facts"]["act"] for r in talk.rounds]
        acts = {act: w for act, w in _ACTS[talk.state].items() if done.count(act) < MOST.get(act, 9)}
        if not acts:
            return
        edges = list(accumulate(acts.values()))
        _STEPS[list(acts)[bisect(edges, talk.rng.random() * edges[-1])]](talk)


# What a user says after the assistant did this, and how often of ten; and how often at most in a dialogue.
_ACTS = {
    "ask": {"yes": 4, "no_but": 3, "narrow": 1, "any": 2},
    "count": {"show": 5, "narrow": 5},
    "show": {"correct": 6, "narrow": 3, "sup": 3, "why": 2, "check": 1, "drift": 1},
    "none": {"relax": 8, "drift": 2},
    "words": {"correct": 6, "sup": 2, "check": 1, "drift": 2},
}
MOST = {"why": 1, "check": 1, "drift": 1, "relax": 1, "sup": 1, "correct": 2}


def _need(talk: _Talk, *, drift: bool) -> bool:
    """State an intent, at times with a wish, at times as a question."""
    rng = talk.rng
    used = {r["facts"]["goal"] for r in talk.rounds}
    rest = [goal for goal in talk.fits if goal not in used]
    pools = (
        [goal for goal in rest if GOALS[goal]["one"] and len(talk.fits[goal]) > 1],
        [goal for goal in rest if not GOALS[goal]["one"] and 1 <= len(talk.fits[goal]) <= MOST_SHOWN],
        [goal for goal in rest if GOALS[goal]["one"] and len(talk.fits[goal]) == 1],
        [goal for goal in rest if not talk.fits[goal]],
    )
    filled = [k for k, pool in enumerate(pools) if pool]
    if not filled:
        return False
    edges = list(accumulate((0.6, 0.15, 0.15, 0.1)[k] for k in filled))
    goal = choose(rng, pools[filled[bisect(edges, rng.random() * edges[-1])]])
    aim = _Aim(goal, since=(len(talk.rounds),))
    text = talk.say(GOALS[aim.goal])
    if drift:
        text = talk.say(ACTS["drift"], need=text)
    asks = text.rstrip().endswith("?")
    if aim.one and not asks and rng.random() < ASKED_FIRST:
        talk.aim = aim
        _add(talk, "is_there", f"{text} {talk.say(ACTS['is_there'])}", "count", _counted(talk))
        return True
    splits = talk.splits(aim)
    if aim.one and splits and rng.random() < WITH_WISH:
        aim = replace(aim, wishes=(choose(rng, splits),))
        said = talk.say(NARROWERS[aim.wishes[0]])
        text = f"{text} {said[0].upper()}{said[1:]}."
    talk.aim = aim
    _answer(talk, "drift" if drift else "need", text)
    return True


def _drift(talk: _Talk) -> None:
    if any(r["answer"] is not None for r in talk.rounds):
        _need(talk, drift=True)


def _wish(talk: _Talk, name: str, act: str, text: str) -> None:
    talk.aim = replace(talk.aim, wishes=(*talk.aim.wishes, name), since=(*talk.aim.since, len(talk.rounds)))  # type: ignore[type-var,union-attr]
    _answer(talk, act, text)


def _yes(talk: _Talk) -> None:
    if talk.asked == EITHER:
        _superlative(talk, choose(talk.rng, ("leftmost", "rightmost")))
    elif talk.asked is not None:
        _wish(talk, talk.asked, "yes", talk.say(ACTS["yes"]))


def _no_but(talk: _Talk) -> None:
    others = [name for name in talk.splits(talk.aim) if name != talk.asked]  # type: ignore[arg-type]
    if others and talk.asked != EITHER:
        name = choose(talk.rng, others)
        _wish(talk, name, "no_but", talk.say(ACTS["no_but"], said=talk.say(NARROWERS[name])))


def _narrow(talk: _Talk) -> None:
    aim = talk.aim
    assert aim is not None
    if not aim.one or aim.sup or aim.without or (talk.state == "show" and len(talk.shown) == 1):
        return
    names = [n for n in talk.splits(aim) if n != talk.asked]
    if talk.rng.random() < 0.2:  # a wish that nothing fulfils
        names = [
            name
            for name, wish in NARROWERS.items()
            if name not in aim.wishes and talk.found(replace(aim, wishes=(*aim.wishes, name))) == []
        ]
    if names:
        name = choose(talk.rng, names)
        _wish(talk, name, "narrow", talk.say(ACTS["narrow"], said=talk.say(NARROWERS[name])))


def _any(talk: _Talk) -> None:
    pool = talk.found(talk.aim)  # type: ignore[arg-type]
    talk.aim = replace(talk.aim, since=(*talk.aim.since, len(talk.rounds)))  # type: ignore[type-var,union-attr]
    _add(talk, "any", talk.say(ACTS["any"]), "show", _shown(talk, pool or []), pool)


def _show(talk: _Talk) -> None:
    pool = talk.found(talk.aim)  # type: ignore[arg-type]
    if pool:
        _add(talk, "show", talk.say(ACTS["show"]), "show", _shown(talk, pool), pool)


def _sup(talk: _Talk) -> None:
    pool = talk.found(talk.aim)  # type: ignore[arg-type]
    words = (
        [w for w, *_ in superlatives(talk.ground, pool or []) if w in SUPERLATIVES]
        if len(pool or []) > 1
        else []
    )
    if words:
        _superlative(talk, choose(talk.rng, words))


def _superlative(talk: _Talk, word: str) -> None:
    aim = talk.aim
    assert aim is not None
    new = replace(aim, sup=word, since=(*aim.since, len(talk.rounds)))
    pool = talk.found(new)
    if pool and len(pool) == 1 and not aim.sup:
        talk.aim = new
        _add(talk, "sup", talk.say(SUPERLATIVES[word]), "show", _shown(talk, pool), pool)


def _correct(talk: _Talk) -> None:
    """What was shown is not meant: a wish that it does not fulfil takes the place of the last one.

    Only where it makes no difference whether the other wishes still hold.
    """
    aim = talk.aim
    assert aim is not None
    if not aim.one or len(aim.wishes) > 1 or aim.without or not talk.shown:
        return
    shown, rng = talk.shown, talk.rng
    options = []
    for name, wish in NARROWERS.items():
        facts = [talk.known[wish["property"]][n] for n in shown]
        if name in aim.wishes or None in facts or (len(shown) == 1 and facts[0] is wish["value"]):
            continue
        without = tuple(shown) if len(shown) == 1 else ()
        wishes = (name,) if len(shown) == 1 else (*aim.wishes, name)
        new = _Aim(aim.goal, wishes, None, without, (*aim.since, len(talk.rounds)))
        pool, kept = talk.found(new), talk.found(replace(new, wishes=(*aim.wishes, name)))
        sole = len(pool or ()) == 1
        if pool and kept is not None and kept in ([], pool) and (sole or (len(shown) == 1 and not aim.sup)):
            options.append(new)
    if options:
        talk.aim = choose(rng, options)
        wish = NARROWERS[talk.aim.wishes[-1]]
        clause = choose(rng, wish["clause_held_out" if talk.held else "clause_train"])
        _answer(talk, "correct", talk.say(ACTS["correct"], clause=clause))


def _relax(talk: _Talk) -> None:
    aim = talk.aim
    assert aim is not None
    if aim.wishes and not aim.sup:
        talk.aim = replace(aim, wishes=aim.wishes[:-1], since=(*aim.since, len(talk.rounds)))
        _answer(talk, "relax", talk.say(ACTS["relax"]))


def _why(talk: _Talk) -> None:
    aim = talk.aim
    assert aim is not None
    if len(talk.shown) != 1 or aim.sup:
        return
    n = talk.shown[0]
    told = [_reason(talk.ground, n, name, value) for name, value in _said_of(aim)]
    _add(talk, "why", talk.say(ACTS["why"]), "words", Reply(" ".join(told)))


def _check(talk: _Talk) -> None:
    if len(talk.shown) != 1:
        return
    n = talk.shown[0]
    names = [name for name in CHECKS if talk.known[name][n] is not None]
    names = [name for name in names if name != "holds_water" or "vessel" in talk.ground.things[n]["traits"]]
    if talk.aim is not None:
        names = [name for name in names if name not in dict(_said_of(talk.aim))]
    if names:
        name = choose(talk.rng, names)
        reply = Reply(_reason(talk.ground, n, name, bool(talk.known[name][n])))
        _add(talk, "check", talk.say(CHECKS[name]), "words", reply)


_STEPS = {
    "yes": _yes, "no_but": _no_but, "narrow": _narrow, "any": _any, "show": _show, "sup": _sup,
    "correct": _correct, "relax": _relax, "why": _why, "check": _check, "drift": _drift,
}  # fmt: skip


def _reason(ground: Ground, n: int, name: str, value: bool) -> str:
    """Say that a thing has a property or not, and why: "It would roll: it is round and is near the edge."."""
    why = causes(ground, n, name, value)
    because = f": it {' and '.join(why)}" if why else ""
    return f"It {PROPERTIES[name].words(value)}{because}."


def _said_of(aim: _Aim) -> list[tuple[str, bool]]:
    """The properties that were asked for, each once."""
    asked = {GOALS[aim.goal]["property"]: True}
    asked |= {NARROWERS[wish]["property"]: NARROWERS[wish]["value"] for wish in aim.wishes}
    return list(asked.items())


def _does(aim: _Aim, *, several: bool) -> str:
    """The predicate of all that was asked for: "would hold water and has a handle"."""
    told = [PROPERTIES[name].words(value, several=several) for name, value in _said_of(aim)]
    return told[0] if len(told) == 1 else ", ".join(told[:-1]) + " and " + told[-1]


def _counted(talk: _Talk) -> Reply:
    aim = talk.aim
    assert aim is not None
    count = len(talk.found(aim) or [])
    if not count:
        return Reply(f"No, nothing here {_does(aim, several=False)}.")
    things = "one thing" if count == 1 else f"{NUMBERS[count]} things"
    return Reply(f"Yes, {things} {_does(aim, several=count > 1)}.")


def _shown(talk: _Talk, pool: Sequence[int]) -> Reply:
    """Say what is shown and what it does."""
    aim, ground, rng = talk.aim, talk.ground, talk.rng
    assert aim is not None
    named = groups(ground, sorted(pool))
    several = len(pool) > 1
    does = f"is the {aim.sup} of them" if aim.sup else _does(aim, several=several)
    form = rng.random()
    if several and len(named) == 1 and len({called(ground, n) for n in pool}) > 1:  # too many to name
        return listed(Reply(), named).add(f" {does}.").ended()
    if several:
        if form < 0.5:
            return listed(Reply(), named).add(f" {does}.").ended()
        return listed(Reply(f"These {does}: "), named).add(".")
    if form < 0.4:
        return listed(Reply(), named).add(f" {does}.").ended()
    if form < 0.7 and aim.one:
        return listed(Reply("Take "), named).add(f": it {does}.")
    return listed(Reply(), named).add(f": it {does}.").ended()


def _answer(talk: _Talk, act: str, text: str) -> None:
    """Do what the facts ask for: show, say that nothing fits, or ask back."""
    aim = talk.aim
    assert aim is not None
    pool = talk.found(aim) or []
    if not pool:
        nothing = "Nothing else here" if aim.without else "Nothing here"
        _add(talk, act, text, "none", Reply(f"{nothing} {_does(aim, several=False)}."), [])
        return
    if aim.one and len(pool) > 1 and not aim.without:
        splits = talk.splits(aim)
        sides = {word for word, *_ in superlatives(talk.ground, pool)} if len(pool) == 2 else set()
        things = f"{NUMBERS[len(pool)].capitalize()} things {_does(aim, several=True)}"
        if splits:
            _add(talk, act, text, "ask", Reply(f"{things}. Should it {NARROWERS[splits[0]]['bare']}?"))
            talk.asked = splits[0]
            return
        if {"leftmost", "rightmost"} <= sides:
            _add(talk, act, text, "ask", Reply(f"{things}: the left one or the right one?"))
            talk.asked = EITHER
            return
    _add(talk, act, text, "show", _shown(talk, pool), pool)


def _add(
    talk: _Talk, act: str, text: str, state: str, reply: Reply, pool: Sequence[int] | None = None
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
