"""The grammar of replies with masks in them, whatever vocabulary writes them. It never raises: what is wrong is said.

    I see [OBJ] the red mug [SEG] and [OBJ] two blue books [SEG] .

[OBJ] opens the words that name what is shown, [SEG] closes them and stands for the mask. With `bare`, a mask may stand
without words of its own, and several [SEG] in a row show what the same words name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PERIOD = 12  # numbers of what may come three times in a row before it counts as going round in circles


@dataclass(frozen=True)
class Phrase:
    """A mask of a reply, with the words that name what it shows."""

    span: tuple[int, int]  # [start, end) in the text; empty where a bare mask stands
    first: int  # place of its [OBJ] among the numbers; of its [SEG] if it is bare
    last: int  # place of its [SEG]


class PhraseReader:
    """Reads signs and words from left to right; afterwards `phrases`, and `troubles` in words."""

    def __init__(self, *, bare: bool = False):
        self.bare = bare
        self.phrases: list[Phrase] = []
        self.troubles: list[str] = []
        self._opened: int | None = None  # place of the [OBJ] that waits for its [SEG]
        self._start: int | None = None  # where its words begin in the text
        self._closed = False  # whether nothing came since the last [SEG]

    def obj(self, at: int) -> None:
        """Read an [OBJ] at place `at` among the numbers."""
        if self._opened is not None:
            self.troubles.append("a phrase begins inside another")
        self._opened, self._start, self._closed = at, None, False

    def words(self, start: int) -> None:
        """Read words, the first letter of which stands at `start` in the text."""
        if self._start is None:
            self._start = start
        self._closed = False

    def seg(self, at: int, end: int) -> None:
        """Read a [SEG] at place `at` among the numbers, where the text has `end` characters."""
        if self._opened is not None and self._start is not None:
            self.phrases.append(Phrase((self._start, end), self._opened, at))
        elif self._opened is not None:
            self.troubles.append("a phrase has no words")
        elif self.bare and self._closed and self.phrases:
            before = self.phrases[-1]
            self.phrases.append(Phrase(before.span, before.first, at))
        elif self.bare:
            self.phrases.append(Phrase((end, end), at, at))
        else:
            self.troubles.append("a phrase ends that never began")
        self._opened, self._start, self._closed = None, None, True

    def end(self) -> None:
        """Read the end of the reply."""
        if self._opened is not None:
            self.troubles.append("a phrase has no end")


def told(troubles: Sequence[str]) -> str:
    """Say each trouble once."""
    return "; ".join(dict.fromkeys(troubles))


def circles(ids: Sequence[int]) -> bool:
    """Whether a reply says the same thing three times in a row."""
    return any(
        len(ids) >= 3 * n and ids[-n:] == ids[-2 * n : -n] == ids[-3 * n : -2 * n]
        for n in range(1, PERIOD + 1)
    )
