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
from dataclasses import replace
from itertools import accumulate

import numpy as np

from askmask.world.facts import Facts
from askmask.world.ground import Ground, choose
from askmask.world.talks.aims import (
    ACTS,
    CHECKS,
    EITHER,
    GOALS,
    NARROWERS,
    SUPERLATIVES,
    Aim,
    Errand,
    evenly,
    fitting,
    wishes_of,
)
from askmask.world.talks.assistant import NAME, add, answer, counted, reason, said_of, shown
from askmask.world.talks.leakage import leakage
from askmask.world.talks.measures import superlatives
from askmask.world.talks.properties import PROPERTIES, values
from askmask.world.talks.replies import Reply
from askmask.world.talks.small_talk import small_talk

TURNS = (2, 3, 3, 4, 4, 5, 6)
ASKED_FIRST = 0.3  # share of needs put as "is there anything ...?"
WITH_WISH = 0.25  # share of needs that come with a wish
IDLE = 0.04  # share of rounds that are small talk, in training
LEAKED = 0.15  # share of dialogues that stay although the assistant has already named the final target
MOST_SHOWN = 5  # things that fit what is asked of all


def dialogues_for(ground: Ground, rng: np.random.Generator, *, held: bool, count: int) -> list[list[Facts]]:
    """Write up to `count` dialogues for one picture."""
    known = {name: values(ground, name) for name in PROPERTIES}
    fits = {goal: yes for goal in GOALS if (yes := fitting(ground, goal, known)) is not None}
    written: list[list[Facts]] = []
    for _ in range(4 * count):
        if len(written) == count or not fits:
            break
        talk = Errand(ground, rng, held, known, fits)
        _write(talk, choose(rng, TURNS))
        rounds = talk.rounds
        while rounds and rounds[-1]["kind"] in (
            "intent_ask",
            "intent_count",
        ):  # nobody leaves a question open
            rounds.pop()
        if len(rounds) < 2 or not any(r["answer"] is not None and r["answer"]["objects"] for r in rounds):
            continue
        leaked = leakage(rounds, ground.things)
        if not leaked["user"] and (not leaked["assistant"] or rng.random() < LEAKED):
            written.append(rounds)
    return written


def _write(talk: Errand, length: int) -> None:
    if not _need(talk, drift=False):
        return
    for _ in range(8 * length):
        if not talk.held and talk.rng.random() < IDLE:
            talk.rounds.append(small_talk(talk.ground, talk.rng, set=NAME))
            continue
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
    "count": {"show": 5, "narrow": 5, "drift": 1},
    "show": {"correct": 6, "narrow": 3, "sup": 3, "why": 2, "check": 1, "drift": 1},
    "none": {"relax": 8, "drift": 2},
    "words": {"correct": 6, "sup": 2, "check": 1, "drift": 2},
}


MOST = {"why": 1, "check": 1, "drift": 1, "relax": 1, "sup": 1, "correct": 2}


def _need(talk: Errand, *, drift: bool) -> bool:
    """State an intent, at times with a wish, at times as a question."""
    rng = talk.rng
    used = {r["facts"].get("goal") for r in talk.rounds}
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
    aim = Aim(goal, since=(len(talk.rounds),))
    text = talk.say(GOALS[aim.goal])
    if drift:
        text = talk.say(ACTS["drift"], need=text)
    asks = text.rstrip().endswith("?")
    if aim.one and not asks and rng.random() < ASKED_FIRST:
        talk.aim = aim
        add(talk, "is_there", f"{text} {talk.say(ACTS['is_there'])}", "count", counted(talk))
        return True
    splits = talk.splits(aim)
    if aim.one and splits and rng.random() < WITH_WISH:
        aim = replace(aim, wishes=(choose(rng, splits),))
        said = talk.say(NARROWERS[aim.wishes[0]])
        text = f"{text} {said[0].upper()}{said[1:]}."
    talk.aim = aim
    answer(talk, "drift" if drift else "need", text)
    return True


def _drift(talk: Errand) -> None:
    if any(r["answer"] is not None for r in talk.rounds):
        _need(talk, drift=True)


def _wish(talk: Errand, name: str, act: str, text: str) -> None:
    talk.aim = replace(talk.aim, wishes=(*talk.aim.wishes, name), since=(*talk.aim.since, len(talk.rounds)))  # type: ignore[type-var,union-attr]
    answer(talk, act, text)


def _yes(talk: Errand) -> None:
    if talk.asked == EITHER:
        _superlative(talk, choose(talk.rng, ("leftmost", "rightmost")))
    elif talk.asked is not None:
        _wish(talk, talk.asked, "yes", talk.say(ACTS["yes"]))


def _no_but(talk: Errand) -> None:
    others = [name for name in talk.splits(talk.aim) if name != talk.asked]  # type: ignore[arg-type]
    if others and talk.asked != EITHER:
        name = choose(talk.rng, others)
        _wish(talk, name, "no_but", talk.say(ACTS["no_but"], said=talk.say(NARROWERS[name])))


def _narrow(talk: Errand) -> None:
    aim = talk.aim
    assert aim is not None
    if not aim.one or aim.sup or aim.without or (talk.state == "show" and len(talk.shown) == 1):
        return
    if not talk.found(aim):
        return
    names = [name for name in talk.splits(aim) if name != talk.asked]
    if talk.rng.random() < 0.2:  # a wish that nothing fulfils
        names = [
            name
            for name in wishes_of(aim)
            if name not in aim.wishes and talk.found(replace(aim, wishes=(*aim.wishes, name))) == []
        ]
    if names:
        name = choose(talk.rng, names)
        _wish(talk, name, "narrow", talk.say(ACTS["narrow"], said=talk.say(NARROWERS[name])))


def _any(talk: Errand) -> None:
    pool = talk.found(talk.aim)  # type: ignore[arg-type]
    talk.aim = replace(talk.aim, since=(*talk.aim.since, len(talk.rounds)))  # type: ignore[type-var,union-attr]
    add(talk, "any", talk.say(ACTS["any"]), "show", shown(talk, pool or []), pool)


def _show(talk: Errand) -> None:
    pool = talk.found(talk.aim)  # type: ignore[arg-type]
    if pool:
        add(talk, "show", talk.say(ACTS["show"]), "show", shown(talk, pool), pool)


def _sup(talk: Errand) -> None:
    pool = talk.found(talk.aim)  # type: ignore[arg-type]
    words = (
        [w for w, *_ in superlatives(talk.ground, pool or []) if w in SUPERLATIVES]
        if len(pool or []) > 1
        else []
    )
    if words:
        _superlative(talk, choose(talk.rng, words))


def _superlative(talk: Errand, word: str) -> None:
    aim = talk.aim
    assert aim is not None
    new = replace(aim, sup=word, since=(*aim.since, len(talk.rounds)))
    pool = talk.found(new)
    if pool and len(pool) == 1 and not aim.sup:
        talk.aim = new
        add(talk, "sup", talk.say(SUPERLATIVES[word]), "show", shown(talk, pool), pool)


def _correct(talk: Errand) -> None:
    """What was shown is not meant: a wish that it does not fulfil takes the place of the last one.

    Only where it makes no difference whether the other wishes still hold.
    """
    aim = talk.aim
    assert aim is not None
    if not aim.one or len(aim.wishes) > 1 or aim.without or not talk.shown:
        return
    shown, rng = talk.shown, talk.rng
    options = []
    for name, wish in wishes_of(aim).items():
        facts = [talk.known[wish["property"]][n] for n in shown]
        if name in aim.wishes or None in facts or (len(shown) == 1 and facts[0] is wish["value"]):
            continue
        without = tuple(shown) if len(shown) == 1 else ()
        wishes = (name,) if len(shown) == 1 else (*aim.wishes, name)
        new = Aim(aim.goal, wishes, None, without, (*aim.since, len(talk.rounds)))
        pool, kept = talk.found(new), talk.found(replace(new, wishes=(*aim.wishes, name)))
        sole = len(pool or ()) == 1
        if pool and kept is not None and kept in ([], pool) and (sole or (len(shown) == 1 and not aim.sup)):
            options.append(new)
    if options:
        talk.aim = choose(rng, options)
        wish = NARROWERS[talk.aim.wishes[-1]]
        clause = choose(rng, wish["clause_held_out" if talk.held else "clause_train"])
        answer(talk, "correct", talk.say(ACTS["correct"], clause=clause))


def _relax(talk: Errand) -> None:
    aim = talk.aim
    assert aim is not None
    if aim.wishes and not aim.sup:
        talk.aim = replace(aim, wishes=aim.wishes[:-1], since=(*aim.since, len(talk.rounds)))
        answer(talk, "relax", talk.say(ACTS["relax"]))


def _why(talk: Errand) -> None:
    aim = talk.aim
    assert aim is not None
    if len(talk.shown) != 1 or aim.sup:
        return
    n = talk.shown[0]
    told = [reason(talk.ground, n, name, value) for name, value in said_of(aim)]
    add(talk, "why", talk.say(ACTS["why"]), "words", Reply(" ".join(told)))


def _check(talk: Errand) -> None:
    if len(talk.shown) != 1:
        return
    n = talk.shown[0]
    names = [name for name in CHECKS if talk.known[name][n] is not None]
    names = [name for name in names if name != "holds_water" or "vessel" in talk.ground.things[n]["traits"]]
    if talk.aim is not None:
        names = [name for name in names if name not in dict(said_of(talk.aim))]
    if names:
        known = {name: talk.known[name][n] for name in names}
        name = choose(talk.rng, names) if talk.held else evenly(talk.rng, known)
        reply = Reply(reason(talk.ground, n, name, bool(known[name])))
        add(talk, "check", talk.say(CHECKS[name]), "words", reply)


_STEPS = {
    "yes": _yes, "no_but": _no_but, "narrow": _narrow, "any": _any, "show": _show, "sup": _sup,
    "correct": _correct, "relax": _relax, "why": _why, "check": _check, "drift": _drift,
}  # fmt: skip
