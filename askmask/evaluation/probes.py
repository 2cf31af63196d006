"""Probes: what an answer depends on that it should not, or should. Each asks a conversation in two ways and compares.

    order        the rounds before a prompt in another order; what it refers to stays
    queries      prompts that need no history, in another order
    swap         a prompt that refers to another segment than it did
    necessity    the same prompts with right, no and wrong references
    propagation  rounds after the model's own answers, and after the true ones
    keyword      the word "left" in a prompt, alone
    mirror       picture and words mirrored
    template     the same request in other words

A probe yields rows {"group", measure: number}; agreement is the IoU of two answers, 1 for two that found nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from askmask.answer import Answer
from askmask.conversation import Example, Prompt, Round, named
from askmask.evaluation.sequential import Asker, Reference, alone, disturbed, in_order, refers
from askmask.history import context, without_truth
from askmask.imaging.files import Picture
from askmask.imaging.mask import Mask, union_of
from askmask.references import mentions, said_by

Row = dict[str, Any]
SAME = 0.5  # least IoU of two answers that count as one


def order(asker: Asker, example: Example, chance: np.random.Generator) -> Iterator[Row]:
    """Shuffle the rounds before a prompt; prompts that count them ("the second answer") are left out."""
    for k, turn in enumerate(in_order(asker, without_truth(example), "pred")):
        if len(turn.before) < 2 or any(
            one.rule == "index" for one in mentions(turn.prompt.text, turn.before)
        ):
            continue
        # What those rounds referred to themselves may now come after them; their answers stay.
        before = [replace(r, prompt=replace(r.prompt, refers_to=()), references=()) for r in turn.before]
        known = {name for r in before for name in (r.id, *(s.id for s in r.segments or ()))}
        meant = tuple(name for name in turn.answer.round.prompt.refers_to if name in known)
        prompt = replace(turn.prompt, refers_to=meant)
        shuffled = [before[n] for n in _shuffled(len(before), chance)]
        yield {"group": f"round {k + 1}"} | _agreement(asker.ask(shuffled, prompt), asker.ask(before, prompt))


def queries(asker: Asker, example: Example, chance: np.random.Generator) -> Iterator[Row]:
    """Ask the prompts that refer to nothing in another order."""
    kept = [
        r.prompt for r in example.rounds if not refers(r.prompt) and not r.prompt.marks and r.text.strip()
    ]
    if example.independent or len(kept) < 2:
        return
    first = _asked(asker, kept, range(len(kept)))
    second = _asked(asker, kept, _shuffled(len(kept), chance))
    for number in first:
        if not (first[number].references or second[number].references):
            yield {"group": "prompt"} | _agreement(second[number], first[number])


def swap(asker: Asker, example: Example, chance: np.random.Generator) -> Iterator[Row]:
    """Refer to another segment than a prompt did: does the answer change, and does it merely copy what is meant?"""
    for k, turn in enumerate(in_order(asker, without_truth(example), "pred")):
        if refers(turn.prompt):
            size, seed = asker.session.picture.size, f"{example.id}#{k}"
            prompt = disturbed(turn.prompt, turn.before, "swap", size, seed)
            again, meant = asker.ask(turn.before, prompt), set(prompt.refers_to)
            given = [s.mask for r in turn.before for s in r.segments or () if {r.id, s.id} & meant]
            copied = any(again.mask.iou(mask) >= SAME for mask in (*given, *prompt.masks))
            yield {"group": f"round {k + 1}", "copies": float(copied)} | _agreement(again, turn.answer)


def necessity(asker: Asker, example: Example, chance: np.random.Generator) -> Iterator[Row]:
    """Score prompts that refer to something with the right reference, with words alone, with none, with wrong ones."""
    ways: tuple[Reference, ...] = ("pred", "words", "none", "swap", "random")
    turns = {how: list(in_order(asker, without_truth(example), how)) for how in ways}
    for k, round in enumerate(example.rounds):
        if refers(round.prompt) and round.masks is not None:
            ious = {how: _iou(turns[how][k].answer, round) for how in ways}
            less = {f"pred - {how}": ious["pred"] - ious[how] for how in ways[1:]}
            yield {"group": f"round {k + 1}"} | ious | less


def propagation(asker: Asker, example: Example, chance: np.random.Generator) -> Iterator[Row]:
    """Score rounds after the model's own answers and after the true ones: the difference is what errors cost."""
    own = list(in_order(asker, without_truth(example), "pred"))
    forced = list(in_order(asker, example, "gt"))
    right = True
    for k, round in enumerate(example.rounds):
        if example.independent or round.masks is None:
            continue
        pred, gt = _iou(own[k].answer, round), _iou(forced[k].answer, round)
        if k:
            for group in (f"round {k + 1}", "after right rounds" if right else "after a wrong round"):
                yield {"group": group, "pred": pred, "teacher-forced": gt, "cost": gt - pred}
        right = right and pred >= SAME


def keyword(asker: Asker, example: Example, chance: np.random.Generator) -> Iterator[Row]:
    """Ask for the side alone that a prompt names: is the answer to all of the prompt no more than that?"""
    for turn, round in zip(in_order(asker, without_truth(example), "pred"), example.rounds, strict=True):
        if (hit := SIDE.search(turn.prompt.text)) is not None:
            word = hit[0].lower()
            thing = f"the {word} thing" if word.endswith("most") else f"the thing on the {word}"
            agreement = turn.answer.mask.iou(asker.ask((), Prompt(text=thing)).mask)
            row: Row = {"group": word.removesuffix("most"), "as the side alone": agreement}
            if round.masks is not None:
                row["trapped"] = float(agreement >= SAME and _iou(turn.answer, round) < SAME)
            yield row


def mirror(asker: Asker, example: Example, chance: np.random.Generator) -> Iterator[Row]:
    """Mirror the picture and swap left and right in prompts asked alone: the answer is the mirrored one."""
    there = Asker(asker.session.model, Picture(np.ascontiguousarray(asker.session.picture.rgb[:, ::-1])))
    for k, round in enumerate(example.rounds):
        prompt = alone(context(example, k, "none").prompt)
        if prompt.text.strip() and not prompt.marks:
            flipped = there.ask((), replace(prompt, text=mirrored(prompt.text)))
            back = Mask.from_array(flipped.mask.to_array()[:, ::-1])
            agreement = back.iou(asker.ask((), prompt).mask)
            group = "names a side" if SIDE.search(round.text) else "names no side"
            yield {"group": group, "agreement": agreement, "changed": float(agreement < SAME)}


def template(asker: Asker, example: Example, chance: np.random.Generator) -> Iterator[Row]:
    """Ask the same in other words, by bank: how far the answers agree with the given words', and how they score."""
    for turn, round in zip(in_order(asker, without_truth(example), "pred"), example.rounds, strict=True):
        thing = said_by(turn.prompt.text)
        if round.masks is None or turn.prompt.marks or not thing or not _THING.match(turn.prompt.text):
            continue
        row: Row = {"group": "prompt", "as given": _iou(turn.answer, round)}
        for bank, forms in BANKS.items():
            text = forms[int(chance.integers(len(forms)))].format(thing)
            again = asker.ask(turn.before, replace(turn.prompt, text=text))
            row |= {bank: _iou(again, round), f"{bank}, agreement": again.mask.iou(turn.answer.mask)}
        yield row | {"average": float(np.mean([row[bank] for bank in BANKS]))}


PROBES: Final = {
    probe.__name__: probe
    for probe in (order, queries, swap, necessity, propagation, keyword, mirror, template)
}
# Ways to ask for a thing: of many kinds, as questions that ask for a mask, and as short as can be.
BANKS: Final = {
    "diverse": (
        "show me the {}", "where is the {}?", "please outline the {}", "can you find the {} for me?",
        "I am looking for the {}", "mark the {} in this picture", "which pixels belong to the {}?",
    ),
    "as a question": (
        "What is the {} in this picture? Please answer with a mask.", "Can you segment the {}?",
        "Please segment the {} in this picture.", "Where is the {} here? Respond with a mask.",
    ),
    "short": ("{}", "the {}", "{}!"),
}  # fmt: skip
SIDE = re.compile(r"\b(?:left|right)(?:most)?\b", re.IGNORECASE)
_THING = re.compile(r"(?:(?:show me|mark|segment|find|where is|where are)\s+)?the\s", re.IGNORECASE)


def mirrored(text: str) -> str:
    """Return words with left and right swapped."""
    other = {"left": "right", "right": "left"}

    def turn(hit: re.Match[str]) -> str:
        new = other[hit[1].lower()]
        return new.upper() if hit[1].isupper() else new.capitalize() if hit[1][0].isupper() else new

    return re.sub(r"\b(left|right)(?=(?:most)?\b)", turn, text, flags=re.IGNORECASE)


# -- parts -----------------------------------------------------------------------------------------------------


def _asked(asker: Asker, prompts: Sequence[Prompt], numbers: Sequence[int]) -> dict[int, Answer]:
    """Ask prompts as one conversation in the order of `numbers`; return the answers by number, in order."""
    rounds: tuple[Round, ...] = ()
    found: dict[int, Answer] = {}
    for number in numbers:
        found[number] = asker.ask(rounds, prompts[number])
        rounds = named([*rounds, found[number].round])
    return dict(sorted(found.items()))


def _shuffled(count: int, chance: np.random.Generator) -> list[int]:
    """Return an order of two or more in which something changes place."""
    while True:
        found = [int(n) for n in chance.permutation(count)]
        if found != list(range(count)):
            return found


def _agreement(one: Answer, other: Answer) -> Row:
    iou = one.mask.iou(other.mask)
    return {"agreement": iou, "changed": float(iou < SAME)}


def _iou(answer: Answer, round: Round) -> float:
    found, truth = answer.mask, union_of(round.masks or (), answer.size)
    if round.ignore is not None:
        found, truth = found - round.ignore, truth - round.ignore
    return found.iou(truth)
