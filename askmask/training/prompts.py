"""Prompts of dense truth as training targets: which objects, which part of them, whether anything matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from askmask.errors import DataError
from askmask.formats.dense import TABLE, answer_masks
from askmask.formats.reading import naming
from askmask.model.mini.compose import MIDDLE, ORDERS, SPREAD
from askmask.model.mini.pairs import FACTS
from askmask.model.mini.perception import SURFACE
from askmask.training.intents import names_of_aim
from askmask.world.compositions import KINDS, measured
from askmask.world.ground import Ground
from askmask.world.phrases import BANK, FOLLOW
from askmask.world.talks.words import OWN

LITERAL = ("entities", "spatial")
LITERAL_WORDS = 9  # longer prompts are composed ones
NOBODY, UNSAID = 0, -1  # no object (ids begin at 1); or the data do not say which
SPEAK_OF = ("of", "removed", "thing")  # names of facts that hold the thing a prompt speaks of
OF_A_STACK = ("stack", "top_of_stack", "bottom_of_stack")  # speak of some thing of it, not said which
COLOUR_WORDS = frozenset("red orange yellow green blue purple pink brown black white grey".split())
WORD_OF = {"wooden": "wood", "woollen": "fabric"}
PAIR_FIELDS = ("supports", "contains", "touches", "falls_with", "blocked_by")  # of an object: FACTS, in order
IN_THE_WAY = ("blocked_by", "must_move")
# Kinds of the rounds of dialogues (world/talks/intents.py) that answer with masks, or with nothing.
INTENTS = ("intent_show", "intent_none")
KNOWN_KINDS = frozenset((*BANK, *FOLLOW, *KINDS, *OWN, *INTENTS))
# Kinds of the concepts that sort by a quantity, and which place they ask for (0: beyond the thing spoken of).
SORTED = {
    "leftmost": ("left", 1), "rightmost": ("right", 1), "nearest": ("near", 1), "farthest": ("far", 1),
    "tallest": ("tall", 1), "largest": ("large", 1), "left_of": ("left", 0), "right_of": ("right", 0),
    "front_of": ("near", 0), "behind": ("far", 0),
}  # fmt: skip
COUNTED = {"nth_left": "left", "nth_right": "right"}
# Words of conversations (world/talks/measures.py), and the order each means: compared with what is spoken of, or
# first among what was found.
COMPARED = {"taller": "tall", "bigger": "large", "smaller": "small"}
FIRST_OF = {
    "leftmost": "left", "rightmost": "right", "nearest": "near", "farthest": "far", "tallest": "tall",
    "biggest": "large", "smallest": "small", "lowest": "low", "highest": "high",
}  # fmt: skip

Facts = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """One prompt of one view and its truth in the terms of regions."""

    text: str
    ids: frozenset[int]  # objects (and stuff ids) that hold the answer
    parts: tuple[str, ...]  # names of the parts meant; () = the whole objects
    answer: Mapping[str, Any]
    concept: str
    family: str
    hard: bool
    shortcuts: Mapping[str, Sequence[int]]
    kind: str = ""
    said: frozenset[str] = frozenset()  # names of reading.py that the words say
    denied: frozenset[str] = frozenset()  # and deny
    of: int = UNSAID  # the object it speaks of ("left of the mug"), NOBODY or UNSAID
    order: str = ""  # of compose.py: by what it sorts; "" = it does not
    place: int = 0  # which place in the order, from 1; 0 = none
    ignore: frozenset[int] = frozenset()  # objects whose truth is uncertain: neither loss nor score

    @property
    def present(self) -> bool:
        """Whether anything matches."""
        return bool(self.ids)

    @property
    def literal(self) -> bool:
        """Whether phase one uses it: names, colours and places, said plainly."""
        return self.concept in LITERAL and len(self.text.split()) <= LITERAL_WORDS


def of_facts(read: Callable[[Facts, Facts], T]) -> Callable[[Facts, Facts], T]:
    """Name the scene in whatever its facts or its view's, which are another's, make go wrong."""

    @wraps(read)
    def named(scene: Facts, view: Facts) -> T:
        with naming(getattr(scene, "place", "dense truth")):
            return read(scene, view)

    return named


@of_facts
def asks_of(scene: Mapping[str, Any], view: Mapping[str, Any]) -> list[Ask]:
    """Return a view's prompts; those whose answer names no object (free-form masks) keep their candidates."""
    found = (ask_of(prompt, scene, view) for prompt in view["prompts"])
    return [ask for ask in found if ask is not None]


def ask_of(prompt: Mapping[str, Any], scene: Mapping[str, Any], view: Mapping[str, Any]) -> Ask | None:
    """Return one prompt of a view, None if its masks cannot be told by objects."""
    answer = prompt["answer"]
    parts: tuple[str, ...] = ()
    if "objects" in answer:
        ids = frozenset(answer["objects"])
    elif "parts" in answer:
        owner = {part["id"]: item["id"] for item in scene["objects"] for part in item["parts"]}
        name = {part["id"]: part["name"] for item in scene["objects"] for part in item["parts"]}
        ids = frozenset(owner.get(number, TABLE) for number in answer["parts"])
        parts = tuple(sorted({name[number] for number in answer["parts"] if number in name}))
    else:
        ids = frozenset(prompt.get("satisfying") or ())
        if bool(ids) != bool(answer["masks"]):
            return None
        parts = (SURFACE,)
    of = spoken_of(prompt, view)
    return Ask(
        prompt["prompt"],
        ids,
        parts,
        answer,
        prompt["concept"],
        prompt.get("family") or "",
        bool(prompt.get("hard")),
        prompt.get("shortcuts") or {},
        prompt.get("kind") or "",
        *names_in(prompt, of, scene),
        of,
        *order_in(prompt),
        frozenset(prompt.get("ignore") or ()),
    )


def spoken_of(prompt: Mapping[str, Any], view: Mapping[str, Any]) -> int:
    """Return the id of the object a prompt speaks of, NOBODY or UNSAID."""
    facts, kind = prompt.get("facts") or {}, prompt.get("kind") or ""
    if "absent" in facts or "unfounded" in facts:
        return NOBODY
    for name in SPEAK_OF:
        if isinstance(facts.get(name), int):
            return facts[name]
    if kind == "surface" and len(prompt["satisfying"]) == 1:
        return prompt["satisfying"][0]
    if kind in IN_THE_WAY:
        others = {int(number) for number in view["objects"]} - set(prompt["candidates"])
        return others.pop() if len(others) == 1 else UNSAID
    if kind and kind not in KNOWN_KINDS and not prompt.get("refers_to"):
        raise DataError(
            f"nothing is known of prompts of kind {kind!r}, so not whom they speak of",
            got=repr(prompt["prompt"]),
            do='Say it in its facts ("of": an object\'s id), or leave the kind out.',
        )
    return UNSAID if kind in OF_A_STACK or not kind else NOBODY


def order_in(prompt: Mapping[str, Any]) -> tuple[str, int]:
    """Return by which of compose.py's ORDERS a prompt sorts ("" for none) and which place it asks for (0: none)."""
    facts, kind = prompt.get("facts") or {}, prompt.get("kind") or ""
    if isinstance(facts.get("order"), str):
        return facts["order"], facts.get("place", 0)
    if kind in COUNTED and prompt["satisfying"]:
        return COUNTED[kind], facts["order"].index(prompt["satisfying"][0]) + 1
    for name, orders, place in (("compared", COMPARED, 0), ("sorted", FIRST_OF, 1)):
        if name in facts and facts[name] not in orders:
            raise DataError(
                f"{facts[name]!r} has no order", got=repr(prompt["prompt"]), do=f"Known: {', '.join(orders)}."
            )
        if name in facts:
            return orders[facts[name]], place
    if facts.get("sup") in FIRST_OF:
        return FIRST_OF[facts["sup"]], 1
    return SORTED.get(kind, ("", 0))


def names_in(
    prompt: Mapping[str, Any], of: int, scene: Mapping[str, Any]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names (reading.py) a prompt says and those it denies."""
    facts, kind = prompt.get("facts") or {}, prompt.get("kind") or ""
    if "said" in facts:
        return frozenset(facts["said"]), frozenset(facts["other"])
    if "goal" in facts:
        return names_of_aim(facts)
    words = set(re.findall(r"[a-z]+", prompt["prompt"].lower()))
    categories = {item["id"]: item["category"] for item in scene["objects"]}
    said = {word for word in words if word in COLOUR_WORDS}
    said |= {f"material={word}" for word in words} | {f"material={WORD_OF.get(word)}" for word in words}
    denied: set[str] = set()
    for name in ("c", "not"):  # a colour, a kind; corrected to a quality, the colour is what is wanted
        if isinstance(facts.get(name), str) and kind != "correct_to_quality":
            denied.add(facts[name])
    said -= denied
    if isinstance(facts.get("category"), str):
        said.add(facts["category"])
    elif of > 0:
        said.add(categories[of])
    elif kind in ("compose", "compose_not") and not words & {"thing", "things"}:
        among = {categories[number] for number in prompt["candidates"] if number in categories}
        said |= among if len(among) == 1 else set()
    if isinstance(facts.get("attribute"), str):
        (said if facts.get("value", True) else denied).add(facts["attribute"])
    if isinstance(facts.get("part"), str):
        said.add(facts["part"])
    if kind == "surface":
        said.add(SURFACE)
    return frozenset(said), frozenset(denied)


def of_target(ask: Ask, owner: np.ndarray) -> int:
    """Return the region a prompt speaks of, len(owner) for none, -100 (no loss) if that is not known."""
    if ask.of == UNSAID:
        return -100
    if ask.of == NOBODY:
        return len(owner)
    found = np.flatnonzero(owner == ask.of)
    return int(found[0]) if len(found) else -100


@of_facts
def pair_table(scene: Mapping[str, Any], view: Mapping[str, Any]) -> np.ndarray:
    """Return what any two objects are to each other by id, bool [n + 1, n + 1, FACTS] (pairs.py says which)."""
    most = max(item["id"] for item in scene["objects"])
    table = np.zeros((most + 1, most + 1, len(FACTS)), bool)
    together = np.eye(most + 1, dtype=bool)
    for item in scene["objects"]:
        number = item["id"]
        hidden_by = view["objects"].get(str(number), {}).get("hidden_by", [])
        lists = [item.get(name, []) for name in PAIR_FIELDS]
        for column, others in enumerate((*lists, hidden_by)):
            table[number, others, column] = True
        for others in lists[:2]:
            together[number, others] = together[others, number] = True
    for _ in range(3):  # stacks are at most eight high
        together = together @ together
    table[:, :, FACTS.index("stacked_with")] = together
    return table


@of_facts
def measure_table(scene: Mapping[str, Any], view: Mapping[str, Any]) -> np.ndarray:
    """Return the quantities of compose.py by object id, standardised, float32 [n + 1, Q]; n + 1 = 0 if not measured."""
    if "camera" not in view:
        return np.zeros((0, len(MIDDLE)), np.float32)
    ground = Ground(scene["objects"], dict(view), view["size"])
    near = float(np.array(view["camera"]["position"]) @ ground.away)
    table = np.zeros((max(ground.things) + 1, len(MIDDLE)), np.float32)
    for number in (*ground.seen, *ground.glimpsed):  # others are no region
        table[number] = [measured(order, ground, number) for order in ORDERS[::2]]
        table[number, 1] -= near
    return (table - np.array(MIDDLE, np.float32)) / np.array(SPREAD, np.float32)


def gate_target(ask: Ask, parts: Sequence[str]) -> Tensor:
    """Return the share of each part name in the answer, [P]; index 0 = whole objects."""
    target = torch.zeros(len(parts))
    known = [parts.index(part) for part in ask.parts if part in parts]
    for index in known or [0]:
        target[index] = 1 / len(known or [0])
    return target


def select_target(ask: Ask, owner: np.ndarray) -> Tensor:
    """Return 1 for each region whose object is in the answer, [O]."""
    return torch.tensor([float(int(number) in ask.ids) for number in owner])


def ignored(ask: Ask, owner: np.ndarray) -> Tensor:
    """Return 1 for each region whose object the prompt leaves open, [O]."""
    return torch.tensor([float(int(number) in ask.ignore) for number in owner])


def ignored_mask(ask: Ask, objects: np.ndarray) -> np.ndarray:
    """Return the pixels that neither loss nor score may count, bool [H, W]."""
    return np.isin(objects, sorted(ask.ignore)) if ask.ignore else np.zeros(objects.shape, bool)


def true_mask(ask: Ask, objects: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the union of the answer's masks, bool [H, W]."""
    masks = answer_masks(ask.answer, objects, parts)
    return np.logical_or.reduce(masks) if masks else np.zeros(objects.shape, bool)
