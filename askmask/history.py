"""The one rule for what a round may see of the rounds before it, in training, evaluation and sessions alike.

    none   nothing: every prompt is asked alone
    own    what the model itself answered
    gold   what rightly answers them (teacher forcing: say so beside any number that comes of it)

The round's own truth, and anything later, is never part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from askmask.conversation import Example, Prompt, Round, Segment
from askmask.errors import SettingError
from askmask.imaging.mask import Mask

Policy = Literal["none", "own", "gold"]
POLICIES: Final[tuple[Policy, ...]] = ("none", "own", "gold")

NOTHING = Mask.empty((1, 1))  # stands for a true mask that must not be shown


@dataclass(frozen=True, slots=True)
class Context:
    """What is asked, and what was said before; references of the prompt point into `rounds`."""

    rounds: tuple[Round, ...]
    prompt: Prompt


def context(example: Example, index: int, policy: Policy, own: Sequence[Round] = ()) -> Context:
    """Return what round `index` (from 0) of a data set may see.

    `own`: with policy "own", the model's answers to the rounds before, in order. Rounds that are independent of each
    other see nothing under any policy. Raises SettingError for an unknown policy.
    """
    if policy not in POLICIES:
        raise SettingError("no such history policy", got=repr(policy), do=f"Choose of {', '.join(POLICIES)}.")
    prompt = example.rounds[index].prompt
    if policy == "none" or example.independent:
        return Context((), replace(prompt, refers_to=()))
    before = example.rounds[:index]
    if policy == "gold":
        return Context(tuple(replace(round, ignore=None, meta={}) for round in before), prompt)
    if len(own) != index or any(s.source == "gold" for round in own for s in round.segments or ()):
        raise ValueError(f"own history needs the model's own answers to all {index} rounds before")
    answers = answered(own)
    return Context(answers, replace(prompt, refers_to=translated(prompt.refers_to, before, own)))


def without_truth(example: Example) -> Example:
    """Return what may be shown to whoever answers: prompts and the names that they refer to, no mask and no words."""
    return replace(
        example,
        meta={},
        rounds=tuple(
            replace(
                round,
                segments=round.segments and tuple(Segment(mask=NOTHING, id=s.id) for s in round.segments),
                reply=None,
                ignore=None,
                meta={},
            )
            for round in example.rounds
        ),
    )


def answered(rounds: Sequence[Round]) -> tuple[Round, ...]:
    """Return what the next prompt of a session may see: its answered rounds, in order."""
    return tuple(round for round in rounds if round.segments is not None or round.reply)


def chain(prompt: Sequence[int], rounds: Sequence[Sequence[int]]) -> list[int]:
    """Return the rounds that a prompt builds on: those it refers to come last, before them those that they refer to.

    `prompt`: the numbers of the rounds that the prompt refers to; `rounds`: of those that each round before refers to.
    In which order the conversation had the rounds changes nothing.
    """
    found = list(dict.fromkeys(reversed(prompt)))
    for number in found:  # grows on the way
        found += [one for one in dict.fromkeys(rounds[number]) if one not in found]
    return found[::-1]


def chain_of(prompt: Prompt, rounds: Sequence[Round]) -> list[int]:
    """Return the numbers of the rounds that a prompt builds on, [] if it refers to none of them.

    What follows an answer in words alone, such as a question back, builds on that too: nobody says "it" of a question.
    """
    owners = {segment.id: n for n, round in enumerate(rounds) for segment in round.segments or ()}
    owners |= {round.id: n for n, round in enumerate(rounds)}

    def linked(one: Prompt, at: int) -> list[int]:
        said = [at - 1] if at and rounds[at - 1].segments is None and rounds[at - 1].reply else []
        return list(dict.fromkeys([*said, *(owners[name] for name in one.refers_to if name in owners)]))

    if not any(name in owners for name in prompt.refers_to):
        return []
    return chain(linked(prompt, len(rounds)), [linked(r.prompt, at) for at, r in enumerate(rounds)])


def translated(names: Sequence[str], gold: Sequence[Round], own: Sequence[Round]) -> tuple[str, ...]:
    """Bring references to true segments into the names of the model's own answers to the same rounds.

    One of several segments becomes the one in its place if the model gave as many, else the whole answer: to pick the
    one that fits best would need the truth.
    """
    found: list[str] = []
    for name in names:
        for true, mine in zip(gold, own, strict=True):
            places = [segment.id for segment in true.segments or ()]
            if name == true.id:
                found.append(mine.id)
            elif name in places:
                same = mine.segments is not None and len(mine.segments) == len(places)
                found.append((mine.segments or ())[places.index(name)].id if same else mine.id)
    return tuple(dict.fromkeys(found))
