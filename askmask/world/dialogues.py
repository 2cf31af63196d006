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
        kinds = sorted({q.kind for q in openings})
        kind = choose(rng, kinds)
        opening = choose(rng, [q for q in openings if q.kind == kind])
        text = words_for(opening, ground, rng, held=held)
        if text is None:
            continue
        said = [_Said(opening, _prompt(opening, text, ground, surface, ()))]
        for _ in range(choose(rng, ROUNDS) - 1):
            follow = _follow(said, ground, about, rng, held)
            if follow is None:
                break
            query, words, references = follow
            text = words()
            if any(text == earlier.prompt["prompt"] for earlier in said):
                break
            said.append(_Said(query, _prompt(query, text, ground, surface, references)))
        if len(said) >= 2:
            written.append([s.prompt for s in said])
    return written


def _prompt(
    query: Query, text: str, ground: Ground, surface: SurfaceMask, references: Sequence[Facts]
) -> Facts:
    prompt = to_prompt(query, text, answer_of(query, surface))
    prompt["refers_to"] = list(references)
    prompt["reply"] = _reply(query, ground)
    return prompt


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


def _follow(
    said: list[_Said], ground: Ground, about: dict[int, list[Query]], rng: np.random.Generator, held: bool
) -> Follow | None:
    """Find something to say next; mostly of the last answer, at times of an earlier one."""
    rounds = [
        k
        for k, s in enumerate(said)
        if 1 <= len(s.query.satisfying) <= MOST and not s.query.parts and not s.query.surface
    ]
    if not rounds:
        return None
    number = rounds[-1] if rng.random() < 0.75 else int(choose(rng, rounds))
    last = number == len(said) - 1
    things = sorted(said[number].query.satisfying)
    options: list[Follow] = []
    if len(things) == 1:
        options += _of_one(things[0], number, None, last, said, ground, about, rng, held)
    else:
        options += _of_many(things, number, last, said[number].query, ground, rng, held)
        side = _sided(things, ground)
        if side is not None:
            word, n = side
            pointer = choose(rng, POINTERS["sided"][held]).format(side=word)
            pointed = _of_one(n, number, things.index(n), last, said, ground, about, rng, held, pointer)
            options += pointed[: max(1, len(options))]
    if not options:
        return None
    kinds = sorted({query.kind for query, *_ in options})
    kind = choose(rng, kinds)
    return choose(rng, [option for option in options if option[0].kind == kind])


def _sided(things: list[int], ground: Ground) -> tuple[str, int] | None:
    """The leftmost or rightmost of some things, if it is clear which."""
    ranked = sorted((n for n in things if n in ground.seen), key=ground.x)
    if len(ranked) == len(things) and ground.x(ranked[1]) - ground.x(ranked[0]) > 0.05:
        return "leftmost", ranked[0]
    if len(ranked) == len(things) and ground.x(ranked[-1]) - ground.x(ranked[-2]) > 0.05:
        return "rightmost", ranked[-1]
    return None


def _of_one(
    n: int,
    number: int,
    mask: int | None,
    last: bool,
    said: list[_Said],
    ground: Ground,
    about: dict[int, list[Query]],
    rng: np.random.Generator,
    held: bool,
    pointer: str | None = None,
) -> list[Follow]:
    """Everything that can be asked of one thing that an earlier round answered with."""
    reference: dict[str, Any] = {"round": number} | ({} if mask is None else {"mask": mask})
    noun = NOUNS[ground.category(n)][0][0]
    if pointer is None:
        nouns_before = [NOUNS[ground.category(m)][0][0] for s in said for m in s.query.satisfying if m != n]
        if last and rng.random() < 0.65:
            pointer = choose(rng, POINTERS["it"][held])
        elif noun in nouns_before or rng.random() < 0.35:
            pointer = choose(rng, POINTERS["index"][held]).format(
                k=("first", "second", "third", "fourth")[number], number=number + 1
            )
        else:
            pointer = choose(rng, POINTERS["noun"][held]).format(n=noun)
    options: list[Follow] = []
    for query in about.get(n, ()):
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
        bank = FOLLOW["its_part" if pointer in _POSSESSIVE else "part_of"][held]
        options.append((query, partial(_filled, bank, rng, p=part["name"], x=pointer), [reference]))
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
        plural = NOUNS[ground.category(n)][0][1]
        options.append((query, partial(_filled, FOLLOW[kind][held], rng, n=noun, ns=plural), [reference]))
    return options


def _filled(bank: Sequence[str], rng: np.random.Generator, **slots: str) -> str:
    return choose(rng, bank).format(**slots)


_POSSESSIVE = frozenset(POINTERS["it"][0] + POINTERS["it"][1])


def _named_parts(n: int, ground: Ground) -> Iterator[Facts]:
    enough = max(6, 0.0003 * ground.size**2)
    for part in ground.things[n]["parts"]:
        if part["name"] in (
            "handle",
            "lid",
            "label",
            "cap",
            "blade",
            "legs",
            "spout",
            "stem",
            "rim",
            "wick",
            "pages",
        ):
            if ground.part_pixels.get(part["id"], 0) >= enough:
                yield part


def _of_many(
    things: list[int],
    number: int,
    last: bool,
    before: Query,
    ground: Ground,
    rng: np.random.Generator,
    held: bool,
) -> list[Follow]:
    """What can be asked of a whole earlier answer: a part of it, all but it."""
    if not last:
        return []
    references = [{"round": number}]
    options: list[Follow] = []
    for attribute in CLAUSES:
        for value in (True, False):
            yes, ignore = ground.having(attribute, things, value)
            if any(n in things for n in ignore) or not 0 < len(yes) < len(things):
                continue
            clause = choose(rng, CLAUSES[attribute][0 if value else 1][held])
            words = partial(_filled, FOLLOW["of_those"][held], rng, that=clause)
            query = Query(
                concept=before.concept,
                family="composition",
                kind="of_those",
                satisfying=yes,
                candidates=things,
                facts={"attribute": attribute, "value": value},
            )
            options.append((query, words, references))
    for colour in sorted({ground.things[n]["colour"] for n in things}):
        yes = [n for n in things if ground.things[n]["colour"] == colour]
        if len(yes) < len(things):
            query = Query(
                concept="entities",
                family="instances",
                kind="coloured_of_those",
                satisfying=yes,
                candidates=things,
                facts={"colour": colour},
            )
            options.append(
                (query, partial(_filled, FOLLOW["coloured_of_those"][held], rng, c=colour), references)
            )
    rest = [n for n in ground.on_table if n not in things]
    if rest and not ground.glimpsed and all(n in ground.on_table for n in things):
        query = Query(
            concept="entities",
            family="groups",
            kind="rest",
            satisfying=rest,
            candidates=ground.on_table,
            facts={"but": things},
        )
        options.append((query, partial(_filled, FOLLOW["rest"][held], rng), references))
    return options
