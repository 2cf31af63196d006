"""What all writers share: what a format is given, which words stand where, and what it cannot hold is counted.

A writer gets Examples whose `image` lies below the folder it writes to and whose `size` is known. What of them its
format has no place for is told to Notes in the words of `KINDS`: nothing is lost in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from askmask.conversation import Example, Round, Segment
from askmask.errors import DataError
from askmask.notes import Notes

WORDLESS = "(no words)"
# What may be lost, and how that is said.
KINDS: Final = {
    "prompt": "prompts in words",
    "nothing": "prompts that rightly nothing matches",
    "ignore": "regions that are not to be counted",
    "reply": "replies in words",
    "score": "scores",
    "name": "names that a user gave to masks",
    "concept": "concepts of prompts",
    "reference": "references of prompts to earlier rounds",
    "marks": "points, boxes and drawn masks of prompts",
    "source": "which masks a model made",
    "made_by": "names of who answered",
    "licence": "licences of pictures",
}
UNANSWERED = "prompts that were not answered, or have no truth, are left out"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Shape:
    """One mask to be written, with all that may be said of it."""

    example: Example
    round: Round
    segment: Segment
    group: int  # counts the rounds of a picture from 1

    @property
    def label(self) -> str:
        """The class where the format has a second place for the prompt: its concept, or else the prompt."""
        return self.round.concept or self.words

    @property
    def words(self) -> str:
        """The prompt as it was asked; of a round without words the user's name for the mask."""
        return words_of(self.round, self.segment.name)


def words_of(round: Round, name: str | None = None) -> str:
    """Return the words of a prompt, or what stands for them where there are none."""
    return round.text if round.text.strip() else name or round.concept or WORDLESS


def one_line(text: str) -> str:
    """Return words on one line, for formats whose names are a line each."""
    return " ".join(text.split()) or WORDLESS


def shapes_of(examples: Iterable[Example]) -> Iterator[Shape]:
    """Yield the masks with pixels of Examples about one picture, in order."""
    group = 0
    for example in examples:
        for round in example.rounds:
            group += 1
            for segment in round.segments or ():
                if segment.mask:
                    yield Shape(example, round, segment, group)


def nothing_of(examples: Iterable[Example]) -> list[str]:
    """Return the prompts about one picture that rightly nothing matches."""
    return [
        words_of(round)
        for example in examples
        for round in example.rounds
        if round.segments is not None and not any(round.masks or ())
    ]


def by_picture(examples: Iterable[Example]) -> dict[str, list[Example]]:
    """Group Examples by their picture, in order of first appearance. Raises DataError for one of unknown size."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        if example.size is None:
            raise DataError(f"example {example.id!r}: the picture's size is unknown")
        found.setdefault(example.image, []).append(example)
    return found


def size_of_picture(examples: list[Example]) -> tuple[int, int]:
    """Return (height, width) of the picture that Examples share."""
    size = examples[0].size
    assert size is not None, "by_picture has seen to it"
    return size


def count_losses(examples: Iterable[Example], holds: Iterable[str], notes: Notes, format: str) -> None:
    """Count what Examples have and a format has no place for; `holds` names what it has, of `KINDS`."""
    lost = KINDS.keys() - set(holds)

    def add(kind: str, place: str, count: int = 1) -> None:
        if count and kind in lost:
            notes.add(f"{KINDS[kind]}: {format} has no place for them", place, count)

    for example in examples:
        add("licence", example.id, bool(example.licence))
        for round in example.rounds:
            place, prompt = f"{example.id}, {round.id}", round.prompt
            if round.segments is None:
                notes.add(UNANSWERED, place)
                continue
            add("prompt", place, bool(prompt.text))
            add("nothing", place, not any(round.masks or ()))
            add("ignore", place, bool(round.ignore))
            add("reply", place, bool(round.reply))
            add("concept", place, bool(round.concept))
            add("reference", place, max(len(prompt.refers_to), len(round.references)))
            add("made_by", place, bool(round.made_by))
            add("marks", place, len(prompt.points) + len(prompt.boxes) + len(prompt.masks))
            for segment in round.segments:
                add("score", place, segment.score is not None)
                add("name", place, segment.name is not None)
                add("source", place, segment.source != "gold")


def xml_text(text: str) -> str:
    """Return the text with what XML cannot hold replaced: control characters, and bytes that are no text."""
    return _NOT_XML.sub("\ufffd", text)
