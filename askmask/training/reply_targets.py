"""What mini should say: the right reply where its choice is right, else a true one about what it chose.

So a reply never names what is not shown: words and masks are taught to agree, whatever the words of a prompt made of
it. Replies are the world's (talks/replies.py), for single prompts written here from the same facts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from askmask.formats.dense import FLOOR, TABLE, WALL
from askmask.history import chain
from askmask.model.mini.perception import SURFACE
from askmask.model.mini.reply_words import ALONE, FOUND, NOTHING
from askmask.model.mini.words import UNSAID, Said
from askmask.training.prompts import NOBODY, ask_of, of_facts
from askmask.training.talks import linked
from askmask.world.ground import Ground, Query
from askmask.world.talks.memory import OF_THOSE
from askmask.world.talks.replies import told

STUFF = {TABLE: "table", FLOOR: "floor"}
WHOLE = ""  # the part of things that are meant as a whole


@dataclass(frozen=True)
class ToSay:
    """A reply, and what each of its phrases names."""

    text: str
    kind: int  # of reply_words.py
    phrases: tuple[tuple[tuple[int, int], frozenset[int]], ...] = ()  # place in the text; ids of things
    part: str = WHOLE  # of these things


@dataclass(frozen=True)
class AskedRound:
    """One prompt, what rightly answers it, what should be said, and what it refers to."""

    text: str
    ids: frozenset[int]
    part: str
    kind: str
    reply: ToSay | None  # None: to be written when it is asked
    refers: tuple[int, ...] = ()  # numbers of the masks answered before, in the order they came
    chain: tuple[int, ...] = ()  # the rounds it builds on, see `history.chain`
    before: tuple[tuple[int, ...], ...] = ()  # things that each earlier round of its dialogue answered with
    earlier: str = ""  # all that was said before
    said: Said = UNSAID  # what the choice hears of it

    @property
    def alone(self) -> bool:
        """Whether words alone answer it."""
        return self.reply is not None and self.reply.kind == ALONE


@of_facts
def singles_of(scene: Mapping[str, Any], view: Mapping[str, Any]) -> list[AskedRound]:
    """Return the single prompts of a view."""
    return [round for prompt in view["prompts"] if (round := _asked(prompt, scene, view)) is not None]


@of_facts
def dialogues_of(scene: Mapping[str, Any], view: Mapping[str, Any]) -> list[tuple[AskedRound, ...]]:
    """Return the dialogues of a view, each up to its first round that things cannot tell."""
    found = []
    for dialogue in view.get("dialogues", ()):
        rounds: list[AskedRound] = []
        before: list[tuple[int, ...]] = []
        earlier: list[str] = []
        said = UNSAID
        links: list[tuple[int, ...]] = []
        for prompt in dialogue:
            asked = _asked(prompt, scene, view, before)
            if asked is None:
                break
            links.append(linked(prompt))
            builds_on = tuple(chain(links[-1], links))
            rounds.append(replace(asked, chain=builds_on, earlier=" ".join(earlier), said=said))
            said = said.then(prompt["prompt"], prompt.get("reply") or "")
            earlier += [text for text in (prompt["prompt"], prompt.get("reply")) if text]
            before.append(() if asked.alone else things_of(prompt["answer"], asked.ids, scene))
        if rounds:
            found.append(tuple(rounds))
    return found


def things_of(answer: Mapping[str, Any], ids: Collection[int], scene: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the thing of each mask of an answer, in order."""
    if "objects" in answer:
        return tuple(answer["objects"])
    owner = {part["id"]: item["id"] for item in scene["objects"] for part in item["parts"]}
    return tuple(owner.get(number, TABLE) for number in answer["parts"]) if "parts" in answer else tuple(ids)


def _asked(
    prompt: Mapping[str, Any],
    scene: Mapping[str, Any],
    view: Mapping[str, Any],
    before: Sequence[tuple[int, ...]] = (),
) -> AskedRound | None:
    refers = tuple(_numbers(prompt.get("refers_to") or (), before))
    kind = prompt.get("kind") or ""
    if prompt["answer"] is None:
        said = ToSay(prompt["reply"], ALONE)
        return AskedRound(prompt["prompt"], frozenset(), WHOLE, kind, said, refers, before=tuple(before))
    ask = ask_of({**prompt, "kind": ""}, scene, view)  # what it speaks of is not needed here
    if ask is None or len(ask.parts) > 1:
        return None
    part = ask.parts[0] if ask.parts else WHOLE
    said_ = (
        _stored(prompt, things_of(prompt["answer"], ask.ids, scene), part) if prompt.get("reply") else None
    )
    return AskedRound(prompt["prompt"], ask.ids, part, kind, said_, refers, before=tuple(before))


def _numbers(references: Sequence[Mapping[str, int]], before: Sequence[tuple[int, ...]]) -> Iterator[int]:
    starts = np.cumsum([0, *map(len, before)])
    for reference in references:
        number, mask = reference["round"], reference.get("mask")
        masks = range(len(before[number])) if mask is None else [mask]
        yield from (int(starts[number]) + one for one in masks)


def _stored(prompt: Mapping[str, Any], things: Sequence[int], part: str) -> ToSay:
    """Read a reply of the world: several masks may share a phrase."""
    spans: dict[tuple[int, int], set[int]] = {}
    for (start, end), thing in zip(prompt["spans"], things, strict=True):
        spans.setdefault((start, end), set()).add(thing)
    phrases = tuple((span, frozenset(ids)) for span, ids in sorted(spans.items()))
    return ToSay(prompt["reply"], FOUND if phrases else NOTHING, phrases, part)


def to_say(
    asked: AskedRound, ground: Ground, chosen: frozenset[int], part: str, rng: np.random.Generator
) -> ToSay | None:
    """Return what to say where the network chose a part of some things, none of them if it found nothing.

    None where there are no words for it: it chose what is no thing, or a part that the thing has not.
    """
    if asked.alone:
        return asked.reply
    right = chosen == asked.ids and (not chosen or part == asked.part)
    if right and asked.reply is not None:
        return asked.reply
    if NOBODY in chosen or (len(chosen) > 1 and chosen & {TABLE, FLOOR, WALL}) or WALL in chosen:
        return None
    return _written(asked, ground, chosen, part, rng)


def _written(
    asked: AskedRound, ground: Ground, chosen: frozenset[int], part: str, rng: np.random.Generator
) -> ToSay | None:
    query = Query(concept="", family="", kind=asked.kind, satisfying=sorted(chosen), candidates=[])
    owner = {id: id for id in chosen}
    if chosen & STUFF.keys():
        (stuff,) = chosen
        query.special, owner = STUFF[stuff], {0: stuff}
    elif part == SURFACE:
        query.surface = True
    elif part and chosen:
        owner = {p["id"]: n for n in chosen for p in ground.things[n]["parts"] if p["name"] == part}
        if set(owner.values()) != chosen:
            return None
        query.parts = list(owner)
    reply = told(query, ground, rng, of_those=asked.kind in OF_THOSE)
    spans: dict[tuple[int, int], set[int]] = {}
    for id, span in reply.spans.items():
        spans.setdefault(span, set()).add(owner[id])
    phrases = tuple((span, frozenset(ids)) for span, ids in sorted(spans.items()))
    return ToSay(reply.text, FOUND if phrases else NOTHING, phrases, part)
