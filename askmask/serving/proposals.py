"""Proposals for annotation tools: what is there already is left alone, and what equals it is not proposed again."""

from __future__ import annotations

from collections.abc import Sequence

from askmask.answer import Answer
from askmask.conversation import Segment, without_masks
from askmask.imaging.mask import Mask

SAME = 0.8  # IoU from which two masks are of one thing


def new_ones(found: Sequence[Segment], there: Sequence[Mask]) -> tuple[list[Segment], int]:
    """Return the segments that equal none that is there, nor one before them; and how many did."""
    known, kept = list(there), []
    for segment in found:
        if any(segment.mask.size == one.size and segment.mask.iou(one) >= SAME for one in known):
            continue
        kept.append(segment)
        known.append(segment.mask)
    return kept, len(found) - len(kept)


def in_words(answer: Answer, suppressed: int) -> str:
    """Say what came of a prompt, so that nothing shown is never mistaken for nothing done."""
    if answer.asks:
        return f"{without_masks(None, answer.reply)}: {answer.text}"
    if not answer.segments:
        return "nothing matches"
    new = len(answer.segments) - suppressed
    if not suppressed:
        return f"{new} proposed"
    there = "there already" if suppressed > 1 else "is there already"
    return f"{new} proposed, {suppressed} {there}"
