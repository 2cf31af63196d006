"""Ask conversations strictly in order: each round after the model's own answers, or by other rules of reference.

    none    each prompt alone: nothing of the conversation is seen
    pred    the model's own answers are seen, and what a prompt refers to is its own answer to that
    last    the same, but of the conversation only the round just before is seen
    words   as pred, but only the words say what is referred to
    gt      the true answers are seen and referred to: teacher forcing, no number of a real conversation
    swap    as pred, but a prompt refers to another segment answered before
    random  as pred, but a prompt refers to a box of the same area somewhere else

Under swap and random only the round itself is disturbed: the rounds before it are those of pred.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from askmask.answer import Answer
from askmask.asking import answer_events
from askmask.backend import Done, Keep, State
from askmask.conversation import Example, Prompt, Round, Segment, named
from askmask.errors import SettingError
from askmask.history import Context, answered, context
from askmask.imaging.mask import Mask, union_of

Reference = Literal["none", "pred", "last", "words", "gt", "swap", "random"]
REFERENCES: Final[tuple[Reference, ...]] = ("none", "pred", "last", "words", "gt", "swap", "random")
TEACHER_FORCED: Final = "teacher-forced: the true earlier answers were given"
_TRIES = 20  # places for a box that should not lie where the reference does


def mode_of(reference: str) -> str:
    """Say how a run's answers came about, for its manifest. Raises SettingError for an unknown reference."""
    if reference not in REFERENCES:
        raise SettingError("no such reference", got=repr(reference), do=f"Choose of {', '.join(REFERENCES)}.")
    return TEACHER_FORCED if reference == "gt" else "generation"


class Asker:
    """Prompts about one picture after any rounds; states are extended, not made anew, where they go on."""

    def __init__(self, model: Any, picture: Any):
        self.session = model.open(picture)
        self._chain: list[State] = []  # each one round longer than the one before

    def ask(self, rounds: Sequence[Round], prompt: Prompt) -> Answer:
        """Answer a prompt after some rounds; drawn masks beside words are rounds of their own before it."""
        rounds, prompt = handed_over(rounds, prompt)
        session, seen = self.session, answered(rounds)
        events = answer_events(
            session.model.backend, session.picture, seen, prompt, Keep(), lambda: self._state(seen)
        )
        return next(event.answer for event in events if isinstance(event, Done))

    def _state(self, rounds: tuple[Round, ...]) -> State:
        chain = self._chain or [self.session.model.backend.begin(self.session.model.view_of(self.session))]
        kept = [state for state in chain if state.rounds == rounds[: len(state.rounds)]]
        for round in rounds[len(kept[-1].rounds) :]:
            kept.append(self.session.model.backend.extend(kept[-1], round))
        self._chain = kept
        return kept[-1]


@dataclass(frozen=True, slots=True)
class Turn:
    """One round as it was asked: what was seen, the prompt as it was put, and the answer."""

    before: tuple[Round, ...]
    prompt: Prompt
    answer: Answer


def in_order(asker: Asker, example: Example, reference: Reference) -> Iterator[Turn]:
    """Ask an example's rounds in order."""
    own: tuple[Round, ...] = ()
    for k in range(len(example.rounds)):
        if reference in ("none", "gt"):
            seen = context(example, k, "gold" if reference == "gt" else "none")
            prompt = alone(seen.prompt) if reference == "none" else seen.prompt
            yield Turn(seen.rounds, prompt, asker.ask(seen.rounds, prompt))
            continue
        seen = context(example, k, "own", own)
        seen = last_alone(seen) if reference == "last" else seen
        prompt = replace(seen.prompt, refers_to=()) if reference == "words" else seen.prompt
        answer = asker.ask(seen.rounds, prompt)
        # A mask that was handed over for this round is no part of the conversation after it.
        meant = tuple(name for name in answer.round.prompt.refers_to if name in _ids(own))
        own = named([*own, replace(answer.round, prompt=replace(prompt, refers_to=meant))])
        if reference in ("swap", "random") and refers(prompt):
            size, seed = asker.session.picture.size, f"{example.id}#{k}"
            prompt = disturbed(prompt, seen.rounds, reference, size, seed)
            answer = asker.ask(seen.rounds, prompt)
        yield Turn(seen.rounds, prompt, answer)


def last_alone(seen: Context) -> Context:
    """Return what is seen when all rounds but the one just before are forgotten."""
    last = tuple(replace(r, prompt=replace(r.prompt, refers_to=()), references=()) for r in seen.rounds[-1:])
    meant = tuple(name for name in seen.prompt.refers_to if name in _ids(last))
    return Context(last, replace(seen.prompt, refers_to=meant))


def refers(prompt: Prompt) -> bool:
    """Whether a prompt is given something to refer to: earlier segments, or masks beside its words."""
    return bool(prompt.refers_to or (prompt.masks and prompt.text.strip()))


def handed_over(rounds: Sequence[Round], prompt: Prompt) -> tuple[tuple[Round, ...], Prompt]:
    """Make masks that a prompt in words was handed rounds of the user's own, which it refers to."""
    if not prompt.masks or not prompt.text.strip():
        return tuple(rounds), prompt
    given = [
        Round(prompt=Prompt(masks=(mask,)), segments=(Segment(mask=mask, source="user"),), made_by="user")
        for mask in prompt.masks
    ]
    every = named([*rounds, *given])
    meant = tuple(s.id for round in every[len(rounds) :] for s in round.segments or ())
    return every, replace(prompt, masks=(), refers_to=(*prompt.refers_to, *meant))


def disturbed(
    prompt: Prompt, rounds: Sequence[Round], how: Literal["swap", "random"], size: tuple[int, int], seed: str
) -> Prompt:
    """Return a prompt that refers to something else: with swap an earlier segment, where there is another."""
    meant = [
        segment for r in rounds for segment in r.segments or () if {r.id, segment.id} & set(prompt.refers_to)
    ]
    chance = np.random.default_rng(
        int.from_bytes(hashlib.sha256(seed.encode("utf-8", "replace")).digest()[:8], "big")
    )
    area = union_of([*(segment.mask for segment in meant), *prompt.masks], size)
    if how == "swap":
        others = [s for r in rounds for s in r.segments or () if s.mask.iou(area) < 0.5 and s not in meant]
        if others:
            return replace(prompt, refers_to=(others[int(chance.integers(len(others)))].id,), masks=())
    return replace(prompt, refers_to=(), masks=(_elsewhere(area, chance),))


def _elsewhere(area: Mask, chance: np.random.Generator) -> Mask:
    """Return a box of about the same area and shape at another place."""
    height, width = area.size
    box = area.box or (0, 0, max(1, width // 8), max(1, height // 8))
    scale = (max(1, area.area) / ((box[2] - box[0]) * (box[3] - box[1]))) ** 0.5
    w, h = (max(1, round(side * scale)) for side in (box[2] - box[0], box[3] - box[1]))
    best, least = area, 2.0
    for _ in range(_TRIES):
        x, y = int(chance.integers(max(1, width - w + 1))), int(chance.integers(max(1, height - h + 1)))
        pixels = np.zeros((height, width), bool)
        pixels[y : y + h, x : x + w] = True
        here = Mask.from_array(pixels)
        if (common := here.overlap(area)) < least:
            best, least = here, common
    return best


def _ids(rounds: Sequence[Round]) -> set[str]:
    return {name for r in rounds for name in (r.id, *(s.id for s in r.segments or ()))}


def alone(prompt: Prompt) -> Prompt:
    """Return a prompt in words without the masks that it was handed."""
    return replace(prompt, masks=()) if prompt.text.strip() else prompt
