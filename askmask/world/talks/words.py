"""The words of conversations: how a later round points at an earlier answer, and what it asks of it.

`follow_ups.json` holds them. As in phrases.py a bank has two sides that share no template: the first trains, the second
serves validation and test. Kinds of the concepts ("what is on {x}?") train with the templates of phrases.py.
Slots: {x} what points at a thing, {n} a noun, {ns} its plural, {p} a part, {ap} with its article, {ps} its plural,
{c} a colour, {that} a clause, {sup} a superlative, {o} what is meant ("red one"), {rel} a relation, {comp} a
comparative, {k} and {j} ordinals, {number} and {other} numbers of rounds, {m} a segment's name.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import numpy as np

from askmask.world.ground import choose
from askmask.world.phrases import BANK, FRAMES_TRAIN, Bank


def read(name: str) -> dict[str, Any]:
    """Read a JSON object of this package."""
    found: dict[str, Any] = json.loads(
        resources.files("askmask.world.talks").joinpath(name).read_text(encoding="utf-8")
    )
    return found


_DATA = read("follow_ups.json")
POINTERS: dict[str, Bank] = {
    name: (tuple(sides["train"]), tuple(sides["held_out"])) for name, sides in _DATA["pointers"].items()
}
OWN: dict[str, Bank] = {
    name: (tuple(sides["train"]), tuple(sides["held_out"])) for name, sides in _DATA["own"].items()
}
# Kinds that single out one of several, where the words say so. Training alone: the fixed splits were frozen before.
SINGULAR: dict[str, tuple[str, ...]] = {kind: tuple(words) for kind, words in _DATA["singular"].items()}
# Sort -> {"train": what is said, "replies": what is answered}.
SMALL_TALK: dict[str, dict[str, tuple[str, ...]]] = {
    sort: {side: tuple(words) for side, words in sides.items()} for sort, sides in _DATA["small_talk"].items()
}
RELATIONS: dict[str, tuple[str, ...]] = {kind: tuple(words) for kind, words in _DATA["relations"].items()}
# Kinds of the concepts that are asked of a thing of an earlier answer.
ABOUT: dict[str, Bank] = {kind: (BANK[kind][0], tuple(held)) for kind, held in _DATA["about"].items()}
# Kinds that only a conversation has, and those that only it has in words of its own.
KINDS = tuple(OWN)


def about(kind: str, pointer: str, rng: np.random.Generator, *, held: bool) -> str:
    """Ask a kind of what a pointer ("it", "the book from before") points at."""
    bank = ABOUT[kind][held]
    for _ in range(20):
        template = choose(rng, bank)
        if _fits(template, pointer):
            break
    else:
        template = next(t for t in bank if _fits(t, pointer))
    if template.startswith("="):
        template = template[1:]
    elif not held:
        template = choose(rng, FRAMES_TRAIN).format(np=template)
    if pointer == "it":
        template = template.replace("{x}'s", "its")
    return str(template.format(x=pointer))


def _fits(template: str, pointer: str) -> bool:
    """Whether a template reads well with a pointer: no "the one from round 2's top", no "it, but only the top"."""
    bare = template.lstrip("=")
    if re.match(r"\{x\}(?!')", bare) and pointer == "it":
        return False
    return "{x}'s" not in template or pointer == "it" or (" " in pointer and len(pointer.split()) == 2)


# Words that leave out what any earlier round showed, not the latest alone.
_NOT_SHOWN = re.compile(r"\byet\b|did not mark|not shown|left out|you left|not marked|missing|\bleft\?")


def own(kind: str, rng: np.random.Generator, *, held: bool, shown: bool = False, **slots: str) -> str:
    """Draw a template of a conversation's own kinds and fill it.

    `shown`: a round before the latest has shown something of the answer, so that it is not what was "not shown yet".
    """
    bank = OWN[kind][held]
    if shown:
        bank = tuple(template for template in bank if not _NOT_SHOWN.search(template))
    return str(choose(rng, bank).format(**slots))


def one_of_those(kind: str, rng: np.random.Generator, **slots: str) -> str:
    """Ask for one of what was shown, in words that say that it is one."""
    return str(choose(rng, SINGULAR[kind]).format(**slots))
