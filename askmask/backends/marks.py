"""Marks that refer to earlier answers: which masks stay as they are, and which one is drawn anew.

Two commands that look alike and are not: a box adds an object to what is meant, and leaves that bit for bit; points
mend the outline of one mask, and leave the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from askmask.conversation import Box, Point, Prompt, Round, Segment
from askmask.pointing.outcome import Instance, Outcome, Pointed


def of_marks(prompt: Prompt, rounds: Sequence[Round]) -> Pointed:
    """Return what a prompt of marks alone means: instances to draw, and those that are drawn already."""
    meant = _meant(prompt, rounds)
    if prompt.boxes:
        return Pointed((*map(_as_it_is, meant), *(Instance(box=box) for box in prompt.boxes)))
    if meant and prompt.points:
        mended = max(meant, key=lambda segment: _nearness(segment, prompt.points))
        grown = Instance(
            box=_reaching(mended.mask.box, prompt.points), label=mended.phrase or "", earlier=mended.id
        )
        return Pointed(tuple(grown if segment is mended else _as_it_is(segment) for segment in meant))
    drawn = [mask.box for mask in prompt.masks if mask.box]
    return Pointed((*map(_as_it_is, meant), Instance(box=_reaching(_around(drawn), prompt.points))))


def resolved(outcome: Outcome, rounds: Sequence[Round]) -> Outcome:
    """Return an outcome in which earlier segments that are named have their masks."""
    if not isinstance(outcome, Pointed):
        return outcome
    known = {s.id: s for r in rounds for s in r.segments or ()}
    return replace(
        outcome,
        instances=tuple(_as_it_is(known[one.earlier]) if one.earlier else one for one in outcome.instances),
    )


def _meant(prompt: Prompt, rounds: Sequence[Round]) -> list[Segment]:
    """Return the segments that a prompt refers to, by their ids or by their rounds'."""
    named = {s.id: s for r in rounds for s in r.segments or ()}
    of = {r.id: [s.id for s in r.segments or ()] for r in rounds}
    ids = dict.fromkeys(n for name in prompt.refers_to for n in of.get(name, [name]) if n in named)
    return [named[name] for name in ids]


def _as_it_is(segment: Segment) -> Instance:
    return Instance(
        box=segment.mask.box,
        label=segment.phrase or "",
        sure=segment.score,
        earlier=segment.id,
        mask=segment.mask,
    )


def _nearness(segment: Segment, points: Sequence[Point]) -> float:
    """Return how near points lie to a mask: 1 for each inside its box, less the further away."""
    if (box := segment.mask.box) is None:
        return -1.0
    away = [max(box[0] - x, x - box[2], box[1] - y, y - box[3], 0.0) for x, y, _ in points]
    return sum(1 / (1 + pixels) for pixels in away)


def _around(boxes: Sequence[Sequence[float]]) -> Box | None:
    if not boxes:
        return None
    low, high = zip(*((box[:2], box[2:]) for box in boxes), strict=True)
    return (
        min(float(x) for x, _ in low), min(float(y) for _, y in low),
        max(float(x) for x, _ in high), max(float(y) for _, y in high),
    )  # fmt: skip


def _reaching(box: Sequence[float] | None, points: Sequence[Point]) -> Box | None:
    """Return a box widened by the points inside what is meant: they say that it reaches there."""
    reached = [(x, y, x + 1, y + 1) for x, y, inside in points if inside]
    return None if box is None else _around([box, *reached])
