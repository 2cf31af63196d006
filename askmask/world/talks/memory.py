"""Conversations that remember masks: rounds over one picture, later ones speaking of the answers of earlier ones.

Two to ten rounds. A follow-up points at what it is about by a pronoun, a phrase, an index, a name, or hands it over;
at an answer as a whole or at several; at the latest, or at one further back.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from itertools import accumulate

import numpy as np

from askmask.imaging.mask import Mask
from askmask.world.facts import Facts
from askmask.world.ground import Ground, Query, choose
from askmask.world.prompts import SMALLEST_SURFACE, SurfaceMask, answer_of, to_prompt, words_for
from askmask.world.talks.aims import ACTS, CHECKS, evenly
from askmask.world.talks.assistant import reason
from askmask.world.talks.follow_ups import options
from askmask.world.talks.properties import values
from askmask.world.talks.replies import spans_of, told
from askmask.world.talks.small_talk import KIND, small_talk
from askmask.world.talks.talk import Follow, Said, Scope, Talk, query_of
from askmask.world.talks.words import OWN

NAME = "conversation"
ROUNDS = (2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10)
MOST_OPENED = 6  # things in the answer of an opening
HARD = 0.6  # share of draws among the hard follow-ups alone, where there are any
OF_ITS_OWN = 0.5  # share of draws among the kinds that only a conversation has
CHECKED = 0.7  # share of rounds in words alone, after one thing, that ask about it: "would it roll?"
IDLE = 0.11  # share of rounds in words alone, in training
IDLE_AGAIN = 0.4  # after such a question
WHY = 0.6  # and of these, share that ask for the reason of what was answered
ANEW = 0.12  # share of later rounds that open a new subject
# Kinds that nearly every answer offers are drawn less, so that the rest is not drowned.
RARER = {"compare": 0.35, "correct_to_relation": 0.7, "all_but": 0.7, "part_of": 0.7, "again": 0.7}
# What people say most, and few answers offer, is drawn more; in training, as the fixed splits were frozen before.
OFTENER = {
    "coloured_of_those": 4.0, "kind_of_those": 4.0, "superlative_of_those": 2.0, "all_but": 3.0, "of_those": 2.0,
    "its_part": 2.0, "remaining": 2.0, "other_one": 2.0, "their_part": 2.0,
}  # fmt: skip
OF_THOSE = frozenset(("of_those", "coloured_of_those", "kind_of_those"))


def conversations_for(
    ground: Ground,
    found: list[Query],
    surface: SurfaceMask,
    rng: np.random.Generator,
    *,
    held: bool,
    count: int,
) -> list[list[Facts]]:
    """Write up to `count` conversations of two to ten rounds for one picture, out of its queries."""
    scope = Scope(ground, found)
    openings = openings_of(ground, found)
    written: list[list[Facts]] = []
    for _ in range(3 * count):
        if len(written) == count or not openings:
            break
        talk = Talk(scope, rng, held)
        rounds = write(talk, openings, choose(rng, ROUNDS), surface)
        if len(rounds) >= 2:
            written.append(rounds)
    return written


def openings_of(ground: Ground, found: list[Query]) -> dict[str, list[Query]]:
    """What a conversation may begin with, by kind; things of which there are three come three times."""
    counts = Counter(ground.category(n) for n in ground.seen)
    openings: dict[str, list[Query]] = {}
    for query in found:
        yes = query.satisfying
        if not 1 <= len(yes) <= MOST_OPENED or query.ignore or query.parts or query.surface or query.special:
            continue
        alike = any(counts[ground.category(n)] > 2 for n in yes)
        openings.setdefault(query.kind, []).extend([query] * (3 if alike else 1))
    return openings


def write(talk: Talk, openings: dict[str, list[Query]], length: int, surface: SurfaceMask) -> list[Facts]:
    """Go on until there are `length` rounds, or nothing more can be said; return all rounds."""
    rng, done = talk.rng, set[tuple[str, tuple[int, ...]]]()
    for _ in range(3 * length):
        if len(talk.said) == length:
            break
        more = talk.said and _checked(talk.said[-1])
        if not talk.held and rng.random() < (IDLE_AGAIN if more else IDLE):
            _chat(talk)
            continue
        follow = None
        if talk.said and rng.random() > ANEW:
            follow = _draw(talk, done)
        if follow is None:
            follow = _open(talk, openings)
        if follow is None:
            continue
        text, answer = follow.words(), answer_of(follow.query, surface)
        if follow.query.surface and any(
            Mask.from_dict(mask).area < SMALLEST_SURFACE for mask in answer["masks"]
        ):
            continue
        if all(text != said.prompt["prompt"] for said in talk.said):
            _say(talk, follow, text, answer)
            done.add((follow.query.kind, tuple(follow.query.satisfying)))
    return [said.prompt for said in talk.said]


def _draw(talk: Talk, done: set[tuple[str, tuple[int, ...]]]) -> Follow | None:
    """Draw a follow-up: a kind first, then one of it; none that was asked and answered alike before."""
    found = [f for f in options(talk) if (f.query.kind, tuple(f.query.satisfying)) not in done]
    hard = [f for f in found if f.hard]
    if hard and talk.rng.random() < HARD:
        found = hard
    own = [f for f in found if f.query.kind in OWN]
    if own and talk.rng.random() < OF_ITS_OWN:
        found = own
    if not found:
        return None
    kinds = sorted({f.query.kind for f in found})
    more = {} if talk.held else OFTENER
    edges = list(accumulate(RARER.get(kind, 1.0) * more.get(kind, 1.0) for kind in kinds))
    kind = kinds[bisect(edges, talk.rng.random() * edges[-1])]
    return choose(talk.rng, [f for f in found if f.query.kind == kind])


def _open(talk: Talk, openings: dict[str, list[Query]]) -> Follow | None:
    """Draw a question that needs no history."""
    kinds = sorted(openings)
    if "one" in openings and talk.rng.random() < 0.3:
        kinds = ["one"]
    elif "category" in openings and talk.rng.random() < 0.2:
        kinds = ["category"]
    query = choose(talk.rng, openings[choose(talk.rng, kinds)])
    text = words_for(query, talk.ground, talk.rng, held=talk.held)
    n = query.slots.get("x")
    of = n if isinstance(n, int) and query.kind != "one" else None
    return None if text is None else Follow(query, lambda: text, [], "none", of=of)


def _chat(talk: Talk) -> None:
    """Add a round in words alone: small talk, or a question about one thing that was shown just before.

    That thing can still be spoken of as "it".
    """
    before = talk.said[-1] if talk.said else None
    things = before.things if before is not None else []
    one = things[0] if len(things) == 1 else None
    query = query_of("entities", KIND, KIND, [], talk.ground.seen)
    first = 1 if before is None else before.first + len(before.prompt["spans"])
    prompt = small_talk(talk.ground, talk.rng, set=NAME)
    checked = _checked(before)
    one = before.of if before is not None and checked else one
    why = checked if talk.rng.random() < WHY else None
    if one is not None and (why or talk.rng.random() < CHECKED):
        known = {name: values(talk.ground, name)[one] for name in sorted(CHECKS)}
        name = why or evenly(talk.rng, known)
        prompt |= {
            "prompt": choose(talk.rng, (ACTS["why"] if why else CHECKS[name])["train"]),
            "kind": "intent_words",
            "facts": {"act": "check", "checked": name},
            "reply": reason(talk.ground, one, name, bool(known[name])),
            "refers_to": [{"round": len(talk.said) - 1}],
        }
    talk.said.append(Said(query, prompt, first, one))


def _checked(said: Said | None) -> str | None:
    """Return what a round asked about one thing, if it did."""
    return None if said is None else said.prompt["facts"].get("checked")


def _say(talk: Talk, follow: Follow, text: str, answer: Facts) -> None:
    """Add a round."""
    query = follow.query
    prompt = to_prompt(query, text, answer)
    reply = told(query, talk.ground, talk.rng, of_those=query.kind in OF_THOSE)
    last = len(talk.said) - 1
    prompt["refers_to"] = follow.references
    prompt["reply"] = reply.text
    prompt["spans"] = [list(span) for span in spans_of(reply, query)] if not query.empty else []
    prompt["set"] = NAME
    if follow.references:
        prompt["reference"] = {
            "how": follow.how,
            "latest": follow.references[-1]["round"] == last,
            "hard": follow.hard,
            "several": len(follow.references) > 1,
        }
    before = talk.said[-1] if talk.said else None
    first = 1 if before is None else before.first + len(before.prompt["spans"])
    talk.said.append(Said(query, prompt, first, follow.of))
