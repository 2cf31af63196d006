"""The oracle's answers to a builder of dialogues: it narrows what is meant down by true properties, and ends on one.

A conversation is read back by the same properties: each of the person's turns that holds one leaves fewer things. So
whether it leads to one thing alone is a matter of fact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from askmask.world.oracle import (
    COLOURS,
    FITS_IOU,
    Draw,
    Errors,
    Thing,
    TrueScene,
    agreement,
    as_request,
    seen_in,
)

MOST_PATHS, MOST_STEPS = 3, 3  # a step more where places are needed
WITH_NOTHING, CORRECTED = 0.4, 0.5  # shares of dialogues, and of later turns
CLEAR = 0.8  # of a thing's pixels in an answer: it fits; below 1 - CLEAR it does not
REQUESTS = (
    "Then please mark what all of this comes down to.",
    "Show me exactly that one, please.",
    "Good, now outline what we have arrived at.",
    "Mark what is left after all that.",
)
_PLACE = re.compile(r"\bin the (top|middle|bottom) (left|center|right) of the picture\b")


@dataclass(frozen=True)
class Step:
    """A property in words, and which of the scene's things have it."""

    text: str
    fits: frozenset[int]  # places in `objects`


def objects(scene: TrueScene) -> list[Thing]:
    """Return what a conversation may be about."""
    return [thing for thing in scene.things if thing.kind == "thing"]


def steps(scene: TrueScene) -> list[Step]:
    """Return the properties that the scene's prompts ask for, where it is clear which things have them; and places."""
    things, found = objects(scene), dict[str, Step]()
    for question in scene.questions:
        shares = [float((question.mask & t.mask).sum() / t.mask.sum()) for t in things]
        if question.short and question.mask.any() and all(s >= CLEAR or s <= 1 - CLEAR for s in shares):
            fits = frozenset(n for n, share in enumerate(shares) if share >= CLEAR)
            text = as_request(question.text).removeprefix("Segment ")
            if fits and len(text.split()) > 1:
                found.setdefault(text, Step(text, fits))
    for thing in things:
        text = f"in the {thing.place} of the picture"
        found[text] = Step(text, frozenset(n for n, t in enumerate(things) if t.place == thing.place))
    return list(found.values())


def meant(scene: TrueScene, persons: Iterable[str]) -> list[frozenset[int]]:
    """Return after each of a person's turns which things are still meant; what holds no property changes nothing."""
    left, known = frozenset(range(len(objects(scene)))), steps(scene)
    after = []
    for text in persons:
        place = _PLACE.search(text.lower())
        told = [s for s in known if not s.text.startswith("in the ") and s.text.lower() in text.lower()]
        if place is not None:
            told += [s for s in known if s.text == place[0]]
        if told:
            left &= max(told, key=lambda step: len(step.text)).fits
        after.append(left)
    return after


def fitting(scene: TrueScene, name: str) -> list[Thing]:
    """Return everything in the scene that a name fits, its place too where it says one."""
    place = name.rsplit(",", 1)[1].strip() if "," in name else None
    words = _words(name)
    return [t for t in scene.things if _words(t.name) <= words and place in (None, t.place)]


class DialogueAnswers:
    """Answers by the name of the schema, as the Oracle has them."""

    def __init__(self, errors: Errors, verdict: Callable[[bool, Draw], bool]):
        self.errors, self._verdict = errors, verdict

    def by_schema(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Return schema name -> answer."""
        return {
            "ElementsReply": self._elements,
            "TreeReply": self._tree,
            "DialogueReply": self._dialogue,
            "UniqueReply": self._unique,
            "FitsReply": self._fits,
        }

    def _elements(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        things = sorted(objects(scene), key=lambda t: -int(t.mask.sum()))[:10]
        rest = [t for t in scene.things if t.kind == "stuff"][:2]
        kept = [t for t in things if not draw.chance(self.errors.missed)]
        kept = [*(kept if len(kept) > 2 else things), *rest]
        named = []
        for thing in kept:
            name = thing.name if len(fitting(scene, thing.name)) == 1 else thing.text
            if thing.kind == "thing" and draw.chance(self.errors.attribute):
                colour = name.split()[0]
                name = name.replace(colour, draw.among([c for c in COLOURS if c != colour]), 1)
            named.append({"name": name, "seen": f"It lies in the {thing.place} of the picture."})
        while len(named) < 3:
            named.append({"name": f"wall {len(named)}", "seen": "It is behind everything."})
        return {"scene": "Things on a table.", "elements": named}

    def _tree(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        listed = _listed(scene, inputs["elements"])
        texts: list[str] = []
        questions: list[dict[str, Any]] = []
        paths: list[dict[str, Any]] = []
        order = list(listed)
        draw.shuffle(order)
        for place in order:
            way = _way(scene, place, draw)
            if way is None or len(paths) == MOST_PATHS:
                continue
            texts += [step.text for step in way if step.text not in texts]
            asked = (
                f"Which one would do for somebody who needs {' and also '.join(step.text for step in way)}?"
            )
            questions.append({"question": asked, "why": "it takes looking", "grade": 3})
            nodes = [texts.index(step.text) + 1 for step in way]
            paths.append({"question": len(questions), "nodes": nodes, "focus": listed[place]})
        questions.append({"question": "What colour is the table?", "why": "a glance answers it", "grade": 1})
        return {"questions": questions, "nodes": texts or ["is there"], "paths": paths}

    def _dialogue(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        listed = _listed(scene, inputs["elements"])
        numbers = {number: place for place, number in listed.items()}
        focus = numbers.get(inputs["focus"])
        known = {step.text: step for step in steps(scene)}
        way = [known[text] for text in inputs["path"] if text in known]
        if focus is not None and draw.chance(self.errors.astray):
            others = [found for n in listed if n != focus and (found := _way(scene, n, draw)) is not None]
            way = draw.among(others) if others else way
        turns: list[dict[str, Any]] = []
        absent = [q for q in scene.questions if q.negative and not q.mask.any() and q.short]
        if absent and draw.chance(WITH_NOTHING):
            said = draw.among(absent).text
            turns.append(_turn(said, "Nothing here is like that.", "nothing"))
        left = frozenset(range(len(objects(scene))))
        for step in way:
            left &= step.fits
            pointed = sorted(listed[n] for n in left if n in listed)
            again = bool(turns) and turns[-1]["kind"] in ("point", "correct") and draw.chance(CORRECTED)
            said = f"No, not all of those. Rather: {step.text}." if again else f"Let me ask: {step.text}?"
            if len(pointed) < len(left) or not pointed:
                turns.append(_turn(said, "Some things here are so.", "words"))
                continue
            if draw.chance(self.errors.untrue) and (
                wrong := [v for v in listed.values() if v not in pointed]
            ):
                pointed = sorted([*pointed, draw.among(wrong)])
            where = dict.fromkeys(objects(scene)[n].place for n in sorted(left))
            told = f"{len(left)} fit: look at the {' and the '.join(where)}."
            turns.append(_turn(said, told, "correct" if again else "point", pointed))
        request = draw.among(REQUESTS)
        if focus is not None and draw.chance(self.errors.named):
            request = f"So please mark the {objects(scene)[focus].name}."
        if focus is not None and turns and draw.chance(self.errors.told):
            turns[0]["person"] += f" Something like the {objects(scene)[focus].text}."
        turns = turns or [_turn("What is here?", "Several things.", "words")]
        return {"turns": turns, "request": request, "focus": inputs["focus"]}

    def _unique(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        found = fitting(scene, inputs["name"])
        unique = self._verdict(len(found) == 1, draw)
        return {"reason": f"{len(found)} found", "visible": bool(found) or unique, "unique": unique}

    def _fits(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        right, reason = leads_to(scene, inputs["conversation"]), "it does not lead to one thing"
        if right is not None:
            good = agreement(right.mask, seen_in(pictures)) >= FITS_IOU
            right, reason = (right, "followed to the end") if good else (None, "another thing is marked")
        accept = self._verdict(right is not None, draw)
        return {"reason": reason if accept == (right is not None) else "it fits", "accept": accept}


def leads_to(scene: TrueScene, conversation: Sequence[Mapping[str, Any]]) -> Thing | None:
    """Return the one thing that a conversation leads to; None if it leads to none, or points at what does not fit.

    A turn of `conversation`: {"person": words, "assistant": words, "points_at": names}.
    """
    things = objects(scene)
    after = meant(scene, [turn["person"] for turn in conversation])
    for turn, left in zip(conversation, after, strict=True):
        shown = [fitting(scene, name) for name in turn["points_at"]]
        if shown and {id(t) for found in shown for t in found} != {id(things[n]) for n in left}:
            return None
    return things[next(iter(after[-1]))] if after and len(after[-1]) == 1 else None


def _way(scene: TrueScene, focus: int, draw: Draw) -> list[Step] | None:
    """Return properties that leave the focus alone, the broadest first; none of them uses a word of its name."""
    name = _words(objects(scene)[focus].name)
    pool = [s for s in steps(scene) if focus in s.fits and not name & _words(s.text)]
    draw.shuffle(pool)
    asked = [s for s in pool if not s.text.startswith("in the ")]
    everything = frozenset(range(len(objects(scene))))
    left, way = everything, list[Step]()
    while len(way) < MOST_STEPS - 1:  # broad ones first: they are the branches that paths share
        broad = [s for s in asked if 1 < len(left & s.fits) < len(left)]
        if not broad:
            break
        way.append(max(broad, key=lambda step: len(left & step.fits)))
        left &= way[-1].fits
    for choices in (asked, pool):
        best = min(choices, key=lambda step: len(left & step.fits), default=None)
        if len(left) > 1 and best is not None and len(left & best.fits) < len(left):
            left &= best.fits
            way.append(best)
    return way if len(left) == 1 and way else None


def _listed(scene: TrueScene, elements: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Return place among `objects` -> number in a list of elements, of those that the scene really has."""
    things, found = objects(scene), dict[int, int]()
    for element in elements:
        named = fitting(scene, element["name"])
        for place, thing in enumerate(things):
            if named and named[0] is thing:
                found.setdefault(place, int(element["number"]))
    return found


def _turn(person: str, assistant: str, kind: str, pointed: Sequence[int] = ()) -> dict[str, Any]:
    return {"person": person, "assistant": assistant, "kind": kind, "points_at": list(pointed)}


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", text.casefold()))
