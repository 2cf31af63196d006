"""Dialogues of dense truth as training targets: each round an Ask, what it refers to, and the masks it answers with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from askmask.imaging.mask import Mask
from askmask.training.prompts import NOBODY, Ask, ask_of
from askmask.world.phrases import NOUNS

# A noun, in the singular or the plural, and the categories it may name.
_NAMES: dict[str, set[str]] = {}
for _category, _pairs in NOUNS.items():
    for _noun in (noun for pair in _pairs for noun in pair):
        _NAMES.setdefault(_noun, set()).add(_category)


@dataclass(frozen=True)
class TalkRound:
    """One round of a dialogue."""

    ask: Ask
    answers: tuple[str, ...]  # keys of `instances_of`, one for each mask of the answer
    refers: tuple[tuple[int, int], ...]  # (round, mask of its answer) it refers to, from 0
    among: bool  # whether only what it refers to takes part: "of those, the red ones"


def talks_of(scene: Mapping[str, Any], view: Mapping[str, Any]) -> list[tuple[TalkRound, ...]]:
    """Return the dialogues of a view, each up to its first round that says nothing about pixels."""
    found = []
    for dialogue in view.get("dialogues", ()):
        rounds: list[TalkRound] = []
        for prompt in dialogue:
            ask = ask_of(prompt, scene, view)
            if ask is None:
                break
            rounds.append(_round(prompt, ask, rounds))
        if rounds:
            found.append(tuple(rounds))
    return found


def _round(prompt: Mapping[str, Any], ask: Ask, before: Sequence[TalkRound]) -> TalkRound:
    refers: list[tuple[int, int]] = []
    for reference in prompt.get("refers_to") or ():
        number, mask = reference["round"], reference.get("mask")
        count = len(before[number].answers)
        refers += [(number, at) for at in (range(count) if mask is None else (mask,))]
    if prompt.get("refers_to"):
        ask = replace(ask, of=NOBODY, said=_said(prompt, ask))
    meant = {id for number, _ in refers for id in before[number].ask.ids}
    among = len(refers) > 1 and meant.issuperset(prompt.get("candidates") or (NOBODY,))
    return TalkRound(ask, tuple(keys_of(prompt["answer"])), tuple(dict.fromkeys(refers)), among)


def _said(prompt: Mapping[str, Any], ask: Ask) -> frozenset[str]:
    """Return what is said of a round that refers to others: of categories, only those whose noun is in the words."""
    if "said" in (prompt.get("facts") or {}):
        return ask.said
    words = " ".join(re.findall(r"[a-z]+", prompt["prompt"].lower()))
    named = {
        category
        for noun, categories in _NAMES.items()
        if re.search(rf"\b{re.escape(noun)}\b", words)
        for category in categories
    }
    return frozenset(name for name in ask.said if name not in NOUNS) | frozenset(named)


def keys_of(answer: Mapping[str, Any]) -> list[str]:
    """Return a name for each mask of an answer, the same wherever the same mask is meant."""
    if "objects" in answer:
        return [f"object {number}" for number in answer["objects"]]
    if "parts" in answer:
        return [f"part {number}" for number in answer["parts"]]
    return [f"mask {json.dumps(mask, sort_keys=True)}" for mask in answer["masks"]]


def mask_of(key: str, objects: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the mask that a key of `keys_of` names, bool [H, W], given the id maps of its view."""
    kind, _, what = key.partition(" ")
    if kind == "mask":
        return Mask.from_dict(json.loads(what)).to_array()
    return (objects if kind == "object" else parts) == int(what)
