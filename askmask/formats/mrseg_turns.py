"""The turns of an MRSeg file, read and written without loss: words, and the markers among them.

    [IMAGE256:PICTURE]                                       the picture, in the first turn
    [MASK-ENCODE:PICTURE|SET|ID]  [BOX-ENCODE:...]           an earlier mask and its box, or ones given from outside
    [MASK-DECODE:PICTURE|SET|ID]                             the answer
    [MASK-DECODE:TASK:REF:ID:PICTURE:SET]                    the answer, and the id of what it refers to ("none")
    [MASK-DECODE:TASK:REF:REF:ID:PICTURE:SET]                the same with two

PICTURE is a path from the root of pictures, SET the name of an annotation file in annotations.yaml, ID a mask in it
(of ReasonSeg empty: the picture's only one). Knows neither files nor masks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from askmask.errors import DataError

IMAGE, MASK, BOX, ANSWER = "IMAGE256", "MASK-ENCODE", "BOX-ENCODE", "MASK-DECODE"
MAX_TURN = 20_000  # characters: the search for markers starts anew at each bracket
NO_ID = ("", "none", "None")
_MARKER = re.compile(r"\[(IMAGE256|MASK-ENCODE|BOX-ENCODE|MASK-DECODE):([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Marker:
    """One marker. With a `task` an answer is written with colons, else with bars."""

    kind: str
    image: str
    dataset: str = ""
    mask_id: str = ""
    task: str = ""
    references: tuple[str, ...] = ()  # as they stand, "none" among them

    def __post_init__(self) -> None:
        bar = "]" if self.kind == IMAGE else "]:" if self.task else "]|"
        parts = (self.image, self.dataset, self.mask_id, self.task, *self.references)
        if bad := next((part for part in parts if set(bar) & set(part)), None):
            raise DataError(f"a marker cannot hold a name with one of {' '.join(bar)}", got=repr(bad)[:80])
        if self.task and len(self.references) not in (1, 2):
            raise DataError("an answer's marker with a task names one reference or two", got=self.references)

    @property
    def key(self) -> tuple[str, str, str]:
        """Equal for markers of the same mask."""
        return self.image, self.dataset, self.mask_id

    def __str__(self) -> str:
        if self.kind == IMAGE:
            body = self.image
        elif self.task:
            body = ":".join((self.task, *self.references, self.mask_id, self.image, self.dataset))
        else:
            body = "|".join(self.key)
        return f"[{self.kind}:{body}]"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says: words and markers in their order. `ind`: rounds from 1 that are meant, -1 for none."""

    speaker: str
    pieces: tuple[str | Marker, ...]
    ind: int | tuple[int, ...] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # fields of others

    def __post_init__(self) -> None:
        if _pieces(self.value) != self.pieces:
            raise DataError("words that read as a marker, or lie apart", got=repr(self.value)[:80])

    @property
    def value(self) -> str:
        """The turn as it is stored."""
        return "".join(map(str, self.pieces))

    @property
    def words(self) -> str:
        """The words alone, on one line."""
        spoken = (piece if isinstance(piece, str) else " " for piece in self.pieces)
        return " ".join("".join(spoken).split())

    def markers(self, *kinds: str) -> Iterator[Marker]:
        """Yield the markers of some kinds in order."""
        for piece in self.pieces:
            if isinstance(piece, Marker) and piece.kind in kinds:
                yield piece


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation of a file. `more` are the fields beside its turns, as they stand."""

    turns: tuple[Turn, ...]
    more: Mapping[str, Any] = field(default_factory=dict)


def parse_dialogue(row: Mapping[str, Any]) -> Dialogue:
    """Read one conversation. Raises DataError for what is not as documented."""
    if not isinstance(row, Mapping):
        raise DataError("a conversation must be a JSON object", got=type(row).__name__)
    more = {key: value for key, value in row.items() if key != "conversations"}
    turns = tuple(_parse_turn(turn) for turn in row["conversations"])
    if not turns or len(turns) % 2:
        raise DataError("turns must come in pairs of human and gpt", got=f"{len(turns)} turns")
    for human, gpt in zip(turns[::2], turns[1::2], strict=True):
        if human.speaker != "human" or gpt.speaker != "gpt":
            raise DataError("turns must alternate human, gpt", got=f"{human.speaker}, {gpt.speaker}")
    return Dialogue(turns, more)


def render_dialogue(dialogue: Dialogue) -> dict[str, Any]:
    """Return a conversation as it is stored; `parse_dialogue` gives back an equal one."""
    turns = []
    for turn in dialogue.turns:
        row: dict[str, Any] = {"from": turn.speaker, "value": turn.value}
        if turn.ind is not None:
            row["ind"] = list(turn.ind) if isinstance(turn.ind, tuple) else turn.ind
        turns.append(row | dict(turn.more))
    return {**dialogue.more, "conversations": turns}


def _parse_turn(row: Any) -> Turn:
    value, ind = row["value"], row.get("ind")
    if not isinstance(value, str):
        raise DataError('"value" must be text', got=repr(value)[:80])
    if len(value) > MAX_TURN:
        raise DataError(f"a turn may have {MAX_TURN} characters", got=len(value))
    if isinstance(ind, list):
        ind = tuple(ind)
    for number in ind if isinstance(ind, tuple) else () if ind is None else (ind,):
        if not isinstance(number, int) or isinstance(number, bool):
            raise DataError('"ind" must be the number of a round, or a list of some', got=repr(ind)[:80])
    more = {key: value for key, value in row.items() if key not in ("from", "value", "ind")}
    return Turn(str(row["from"]), _pieces(value), ind, more)


def _pieces(value: str) -> tuple[str | Marker, ...]:
    pieces: list[str | Marker] = []
    last = 0
    for found in _MARKER.finditer(value):
        pieces += [value[last : found.start()], _read(found[1], found[2])]
        last = found.end()
    return tuple(piece for piece in (*pieces, value[last:]) if piece != "")


def _read(kind: str, body: str) -> Marker:
    if kind == IMAGE:
        return Marker(kind, body)
    if kind == ANSWER and "|" not in body:
        parts = body.split(":")
        if len(parts) not in (5, 6):
            raise DataError("an answer's marker needs 5 or 6 parts", got=repr(body)[:80])
        task, *references, mask_id, image, dataset = parts
        if not task:
            raise DataError("an answer's marker with colons needs a task", got=repr(body)[:80])
        return Marker(kind, image, dataset, mask_id, task, tuple(references))
    parts = body.split("|")
    if len(parts) != 3:
        raise DataError("a marker needs IMAGE|DATASET|ID", got=repr(body)[:80])
    image, dataset, mask_id = parts
    return Marker(kind, image, dataset, mask_id)
