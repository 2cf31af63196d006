"""Dialogues of dense truth as training targets: each round an Ask, what it refers to, and the masks it answers with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from askmask.history import chain
from askmask.imaging.mask import Mask
from askmask.training.prompts import INTENTS, NOBODY, Ask, ask_of, of_facts
from askmask.world.phrases import NOUNS
from askmask.world.talks.small_talk import KIND as SMALL_TALK

# Kinds of rounds in words alone: several things may fit the intent, none of them shown yet; something is said of what
# was shown.
UNSETTLED, EXPLAINED = ("intent_ask", "intent_count"), "intent_words"
TAKE_AWAY = ("minus", "remaining")  # kinds that take later answers they refer to from the first
TOLD = (
    "name",
    "given",
)  # ways to refer that words alone do not settle: "m3" is looked up, "this" is handed over
# A noun, in the singular or the plural, and the categories it may name.
_NAMES: dict[str, set[str]] = {}
for _category, _pairs in NOUNS.items():
    for _noun in (noun for pair in _pairs for noun in pair):
        _NAMES.setdefault(_noun, set()).add(_category)


@dataclass(frozen=True)
class TalkRound:
    """One round of a dialogue. `ask` is None where no regions can tell what is asked for.

    Where the answer is in words alone, what these words are about is asked for, if that is known.
    """

    text: str
    reply: str
    ask: Ask | None
    shown: bool  # whether masks answer it, or that there are none
    answers: tuple[str, ...]  # keys of `keys_of`, one for each mask of the answer
    rounds: tuple[int, ...]  # the rounds it refers to, from 0; their answers may have no masks
    refers: tuple[tuple[int, int], ...]  # (round, mask of its answer) it refers to, from 0
    less: tuple[tuple[int, int], ...]  # those of them that are taken away: "answer 1 minus answer 3"
    told: bool  # the words do not say which: whoever asks names or hands over what is meant
    among: bool  # whether only what it refers to takes part: "of those, the red ones"
    intent: bool  # whether somebody wants something: MIRAS's sort of round
    hard: bool  # whether others of its kind are there, so that words alone do not settle what it refers to


def linked(prompt: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the rounds that a stored prompt refers to, each once."""
    return tuple(dict.fromkeys(reference["round"] for reference in prompt.get("refers_to") or ()))


def chains_of(talk: Sequence[TalkRound]) -> list[list[int]]:
    """Return for each round of a dialogue the rounds that it builds on; see `history.chain`."""
    rounds = [round.rounds for round in talk]
    return [chain(one, rounds) for one in rounds]


@of_facts
def talks_of(scene: Mapping[str, Any], view: Mapping[str, Any]) -> list[tuple[TalkRound, ...]]:
    """Return the dialogues of a view."""
    found = []
    for dialogue in view.get("dialogues", ()):
        rounds: list[TalkRound] = []
        for prompt in dialogue:
            rounds.append(_round(prompt, scene, view, rounds))
        if any(round.ask is not None and round.shown for round in rounds):
            found.append(tuple(rounds))
    return found


def _round(
    prompt: Mapping[str, Any], scene: Mapping[str, Any], view: Mapping[str, Any], before: Sequence[TalkRound]
) -> TalkRound:
    shown = prompt["answer"] is not None
    asked = ask_of(prompt, scene, view) if shown else _looked_for(prompt, scene, view, before)
    keys = () if prompt["answer"] is None else tuple(keys_of(prompt["answer"]))
    by_answer = []
    for reference in prompt.get("refers_to") or ():
        number, mask = reference["round"], reference.get("mask")
        count = len(before[number].answers)
        by_answer.append([(number, at) for at in (range(count) if mask is None else (mask,))])
    if asked is not None and by_answer:
        asked = replace(asked, of=NOBODY, said=_said(prompt, asked))
    refers = tuple(dict.fromkeys(one for some in by_answer for one in some))
    how = (prompt.get("reference") or {}).get("how")
    meant = {id for number, _ in refers if (ask := before[number].ask) is not None for id in ask.ids}
    return TalkRound(
        prompt["prompt"],
        prompt.get("reply") or "",
        asked,
        shown,
        keys,
        linked(prompt),
        refers,
        less=tuple(one for some in by_answer[1:] for one in some) if prompt.get("kind") in TAKE_AWAY else (),
        told=how in TOLD,
        among=len(refers) > 1 and meant.issuperset(prompt.get("candidates") or (NOBODY,)),
        intent=prompt.get("family") == "intent",
        hard=bool((prompt.get("reference") or {}).get("hard")),
    )


def _looked_for(
    prompt: Mapping[str, Any], scene: Mapping[str, Any], view: Mapping[str, Any], before: Sequence[TalkRound]
) -> Ask | None:
    """Return what fits an intent where the assistant asks back or counts, and what is spoken of where it explains."""
    kind, fits = prompt.get("kind"), (prompt.get("facts") or {}).get("fits")
    if kind == EXPLAINED:
        shown = [before[reference["round"]].ask for reference in prompt["refers_to"]]
        fits = sorted(id for ask in shown if ask is not None for id in ask.ids)
    elif kind == SMALL_TALK:
        fits = []  # nothing is to be shown
    elif kind not in UNSETTLED:
        return None
    if fits is None:
        return None
    kind = "" if kind == SMALL_TALK else INTENTS[0]
    return ask_of({**prompt, "kind": kind, "answer": {"objects": fits}, "satisfying": fits}, scene, view)


def _said(prompt: Mapping[str, Any], ask: Ask) -> frozenset[str]:
    """Return what is said of a round that refers to others: of categories, only those whose noun is in the words."""
    if {"said", "goal"} & (prompt.get("facts") or {}).keys():
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
