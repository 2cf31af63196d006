"""Prompts of dense truth as training targets: which objects, which part of them, whether anything matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from askmask.datasets.dense import TABLE, answer_masks

LITERAL = ("entities", "spatial")
LITERAL_WORDS = 9  # longer prompts are composed ones


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
    ignore: frozenset[int] = frozenset()  # objects whose truth is uncertain: neither loss nor score

    @property
    def present(self) -> bool:
        """Whether anything matches."""
        return bool(self.ids)

    @property
    def literal(self) -> bool:
        """Whether phase one uses it: names, colours and places, said plainly."""
        return self.concept in LITERAL and len(self.text.split()) <= LITERAL_WORDS


def asks_of(scene: Mapping[str, Any], view: Mapping[str, Any]) -> list[Ask]:
    """Return a view's prompts; those whose answer names no object (free-form masks) keep their candidates."""
    owner = {part["id"]: item["id"] for item in scene["objects"] for part in item["parts"]}
    name = {part["id"]: part["name"] for item in scene["objects"] for part in item["parts"]}
    result = []
    for prompt in view["prompts"]:
        answer = prompt["answer"]
        parts: tuple[str, ...] = ()
        if "objects" in answer:
            ids = frozenset(answer["objects"])
        elif "parts" in answer:
            ids = frozenset(owner.get(number, TABLE) for number in answer["parts"])
            parts = tuple(sorted({name[number] for number in answer["parts"] if number in name}))
        else:
            ids = frozenset(prompt.get("satisfying") or ())
            if bool(ids) != bool(answer["masks"]):
                continue
        result.append(
            Ask(
                prompt["prompt"],
                ids,
                parts,
                answer,
                prompt["concept"],
                prompt.get("family") or "",
                bool(prompt.get("hard")),
                prompt.get("shortcuts") or {},
                frozenset(prompt.get("ignore") or ()),
            )
        )
    return result


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
