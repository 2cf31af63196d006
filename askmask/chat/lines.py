"""What a person or a script types: a prompt with what it is about, or a command like `:undo`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmask.conversation import Box
from askmask.errors import DataError
from askmask.runs.json_text import MAX_LINE_BYTES, parse_json

MOST_LINES = 100_000  # of a script


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a prompt, or a command with its words."""

    text: str
    about: tuple[str, ...] = ()
    points: tuple[Sequence[float], ...] = ()
    boxes: tuple[Box, ...] = ()

    @property
    def command(self) -> tuple[str, str] | None:
        """The command's name and what follows it; None for a prompt."""
        if not self.text.startswith(":"):
            return None
        name, _, rest = self.text[1:].partition(" ")
        return name.lower(), rest.strip()

    @property
    def shown(self) -> str:
        """The line as it is echoed and remembered."""
        more = {"about": self.about, "points": self.points, "boxes": self.boxes}
        said = {name: value for name, value in more.items() if value}
        return f"{self.text}  {json.dumps(said, ensure_ascii=False)}" if said else self.text


def read_script(path: str | Path) -> list[Line]:
    """Read a script: each line is a text, or {"prompt", "about"?, "points"?, "boxes"?}. Raises DataError."""
    path = Path(path)
    if not path.is_file():
        raise DataError("no such script", got=path)
    if path.stat().st_size > MAX_LINE_BYTES:
        raise DataError(f"{path}: a script may have {MAX_LINE_BYTES >> 20} MB")
    rows = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    if len(rows) > MOST_LINES:
        raise DataError(f"{path}: a script may have {MOST_LINES} lines", got=len(rows))
    return [line_of(row, f"{path}, line {number}") for number, row in enumerate(rows, 1) if row.strip()]


def line_of(row: str, place: str) -> Line:
    """Read one line of a script: JSON where it looks like it, else the text itself."""
    row = row.strip()
    if row[:1] not in ('"', "{"):
        return Line(row)
    data = parse_json(row, place)
    if isinstance(data, str):
        return Line(data)
    known = {"prompt", "about", "points", "boxes"}
    if not isinstance(data, dict) or not isinstance(data.get("prompt", ""), str) or data.keys() - known:
        raise DataError(f'{place}: a text, or an object with "prompt"', got=row[:80])
    about = data.get("about", ())
    try:
        return Line(
            data.get("prompt", ""),
            (about,) if isinstance(about, str) else tuple(map(str, about)),
            tuple(tuple(map(float, point)) for point in data.get("points", ())),
            tuple(box_of(box) for box in data.get("boxes", ())),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: a field holds what it cannot", got=row[:80]) from error


def box_of(numbers: Iterable[Any]) -> Box:
    """Return four numbers as a box. Raises ValueError."""
    x0, y0, x1, y1 = map(float, numbers)
    return x0, y0, x1, y1


def points_of(words: Sequence[str]) -> Iterator[tuple[float, float, bool]]:
    """Read "12 30 not 40 50" as points, those after "not" lying outside. Raises ValueError."""
    inside, numbers = True, list[float]()
    for word in words:
        if word == "not" and not numbers:
            inside = False
        else:
            numbers.append(float(word))
        if len(numbers) == 2:
            yield numbers[0], numbers[1], inside
            inside, numbers = True, []
    if numbers or not inside:
        raise ValueError("a point needs x and y")
