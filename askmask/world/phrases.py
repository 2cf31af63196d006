"""The words: what things are called, and for each kind of prompt two disjoint banks of templates.

`phrases.json` holds them. A bank's "train" side trains; "held_out" serves validation and test, so that a score measures
paraphrase and not memory. `paraphrases.json` widens the first side; it was written without sight of the second.
A template that starts with "=" is a whole prompt; any other is a noun phrase that a frame wraps. Slots: {x} a thing
("the red mug"), {n} a noun, {ns} its plural, {c} a colour, {m} a material, {p} a part, {k} an ordinal, {that} a clause.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

Bank = tuple[tuple[str, ...], tuple[str, ...]]  # (for training, held out)

ADJECTIVES = {"wood": "wooden"}  # of other materials: the noun
ORDINALS = ("first", "second", "third", "fourth", "fifth")


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        resources.files("askmask.world").joinpath(name).read_text(encoding="utf-8")
    )
    return found


def _bank(sides: Mapping[str, Sequence[str]], more: Sequence[str] = ()) -> Bank:
    return (*sides["train"], *more), tuple(sides["held_out"])


_PHRASES, _MORE = _read("phrases.json"), _read("paraphrases.json")

# Category -> its names, and things the world does not have; each (singular, plural).
NOUNS = {kind: tuple((one, many) for one, many in names) for kind, names in _PHRASES["nouns"].items()}
ABSENT = tuple((one, many) for one, many in _PHRASES["absent"])
FRAMES_TRAIN, FRAMES_HELD = _bank(_PHRASES["frames"], _MORE["frames"])
BANK = {
    kind: _bank(sides, _MORE["templates"][kind])
    for kinds in _PHRASES["templates"].values()
    for kind, sides in kinds.items()
}
# Attribute -> (clauses that say it, clauses that deny it); they follow a noun.
CLAUSES = {
    name: (
        _bank(clause["said"], _MORE["clauses"][name][0]),
        _bank(clause["denied"], _MORE["clauses"][name][1]),
    )
    for name, clause in _PHRASES["clauses"].items()
}
# How a later round points at a thing of an earlier answer, and follow-ups with words of their own.
POINTERS = {name: _bank(sides) for name, sides in _PHRASES["pointers"].items()}
FOLLOW = {name: _bank(sides) for name, sides in _PHRASES["follow_ups"].items()}
