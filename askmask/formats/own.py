"""askmask's own data files: JSON lines, one Example a line, pictures beside it. Read and written here only.

One row of `examples.jsonl`:

    {"schema": 2, "id": "tabletop-7", "image": "images/7.png", "size": [192, 192], "rounds": [
        {"id": "r1", "prompt": "what could roll off", "concept": "physics",
         "segments": [{"id": "m1", "size": [192, 192], "counts": "..."}]}]}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from askmask.conversation import Example
from askmask.errors import AskMaskError, DataError

MAX_LINE_BYTES = 64 << 20


def read_rows(
    path: str | Path, on_bad: Callable[[int, str], None] | None = None
) -> Iterator[tuple[int, dict]]:
    """Yield (line number from 1, JSON object) of a JSON-lines file; blank lines are passed over.

    A line that is no JSON object raises DataError naming file and line; with `on_bad` it is told (line number,
    the error) and passed over. A line larger than 64 MB always raises.
    """
    for number, _, row in locate_rows(path, on_bad):
        yield number, row


def locate_rows(
    path: str | Path, on_bad: Callable[[int, str], None] | None = None
) -> Iterator[tuple[int, int, dict]]:
    """Yield (line number from 1, byte offset of the line, JSON object); see `read_rows`."""
    path = Path(path)
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise DataError("no such file", got=path) from error
    except IsADirectoryError as error:
        raise DataError("a file is needed", got=f"the folder {path}") from error
    with file:
        number = offset = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"{path}, line {number}: longer than {MAX_LINE_BYTES >> 20} MB")
            if line.strip():
                try:
                    row = parse_row(line, f"{path}, line {number}")
                except DataError as error:
                    if on_bad is None:
                        raise
                    on_bad(number, str(error))
                else:
                    yield number, offset, row
            offset += len(line)


def parse_row(line: bytes, place: str) -> dict:
    """Parse one line; raises DataError beginning with `place` for what is no JSON object."""
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{place}: not JSON", got=repr(line[:60])) from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: not a JSON object", got=type(row).__name__)
    return row


def read_examples(path: str | Path, *, absolute_images: bool = True) -> Iterator[Example]:
    """Yield the Examples of a JSONL file (or of `examples.jsonl` in a folder), in order.

    Relative image paths are made absolute against the file's folder unless `absolute_images` is False.
    """
    path = Path(path)
    path = path / "examples.jsonl" if path.is_dir() else path
    for number, row in read_rows(path):
        try:
            example = Example.from_dict(row)
        except (AskMaskError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        yield replace(example, image=str(path.parent / example.image)) if absolute_images else example


def to_line(example: Example) -> str:
    """Return one line of JSON: keys in a fixed order, no spaces: equal Examples are equal bytes."""
    return json.dumps(example.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n"


def write_examples(examples: Iterable[Example], path: str | Path) -> int:
    """Write a JSONL file whole or not at all (through a temporary file); return the number of Examples."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    count = 0
    with partial.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(to_line(example))
            count += 1
    partial.replace(path)
    return count
