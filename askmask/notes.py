"""What a reader left out or took with a doubt: counted by kind, the first place named, said once a process."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable

LOG = logging.getLogger("askmask")
SHOWN = 3  # places of a kind that are named
LONGEST = 600  # letters of a place: a file's name in it may be of any length
# Control characters, changes of writing direction, and bytes of a name that are no text.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_said: set[str] = set()


def visible(text: str) -> str:
    """Return the text with what could steer a terminal made visible."""
    return STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


class Notes:
    """Counts of what was not used as it stood, or not at all."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: dict[str, list[str]] = {}  # kind -> where it first occurred

    def add(self, kind: str, place: object = "", count: int = 1) -> None:
        """Count one more of a kind; `place` says which row of which file."""
        self.counts[kind] += count
        places = self.places.setdefault(kind, [])
        if place and len(places) < SHOWN:
            told = str(place)
            places.append(
                told if len(told) <= LONGEST else f"{told[: LONGEST // 2]}...{told[-LONGEST // 2 :]}"
            )

    def lines(self) -> list[str]:
        """Return one line per kind, in order of first occurrence: "5 x KIND (first: PLACE; PLACE; PLACE)"."""
        return [
            f"{count} x {kind}" + (f" (first: {'; '.join(self.places[kind])})" if self.places[kind] else "")
            for kind, count in self.counts.items()
        ]

    def say(self, source: str, tell: Callable[[str], None] = LOG.warning) -> None:
        """Tell each line to the log (which prints it to stderr unless set otherwise), once a process."""
        for line in self.lines():
            say_once(f"{source}: {line}", tell)


def say_once(text: str, tell: Callable[[str], None] = LOG.warning) -> None:
    """Tell a text that was not told before in this process; what in it could steer a terminal is made visible."""
    if text not in _said:
        _said.add(text)
        tell(visible(text))
