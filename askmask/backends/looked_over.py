"""What a reader of an answer should be told of it: numbers that its words and its masks do not agree on, specks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from askmask.conversation import Segment

SPECK = 25  # pixels; a mask of fewer is hard to see, and seldom what was meant
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNTED = re.compile(rf"(?:(?:the|all|these|those)\s+)*(\d{{1,3}}|{'|'.join(NUMBERS)})\s", re.IGNORECASE)


def looked_over(segments: Sequence[Segment], *, named: bool = False) -> tuple[str, ...]:
    """Return notices on the segments of one answer; `named`: its reply has phrases for what is shown."""
    if named and not segments:
        return ("the reply names what no mask shows",)
    notices = []
    for span in dict.fromkeys(segment.span for segment in segments if segment.span and segment.phrase):
        phrase = next(segment.phrase or "" for segment in segments if segment.span == span)
        shown = sum(segment.span == span for segment in segments)
        said = _counted(phrase)
        if said is not None and said != shown:
            notices.append(f'the reply says "{phrase}", and has {shown} mask{"s" * (shown != 1)} for it')
    if specks := [area for segment in segments if (area := segment.mask.area) < SPECK]:
        what = "a mask is" if len(specks) == 1 else f"{len(specks)} masks are"
        notices.append(f"{what} tiny: {', '.join(map(str, specks))} pixels")
    return tuple(notices)


def _counted(phrase: str) -> int | None:
    """Return how many things a phrase says it names."""
    found = _COUNTED.match(phrase)
    if found is None:
        return None
    number = found[1].lower()
    return int(number) if number.isdigit() else NUMBERS.index(number) + 1
