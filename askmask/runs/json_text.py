"""JSON as text, both ways: any name can be written, and what cannot be read is named by its place."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from askmask.errors import DataError

MAX_LINE_BYTES = 64 << 20
MAX_FILE_BYTES = 1 << 30
_BROKEN = re.compile("[\ud800-\udfff]")


def json_text(value: Any, *, indent: int | None = None, compact: bool = False) -> str:
    """Write JSON with letters as they are; escaped where a file's name holds bytes that are no text."""
    options: dict[str, Any] = {"indent": indent, "separators": (",", ":") if compact else None}
    text = json.dumps(value, ensure_ascii=False, **options)
    return text if text.isascii() or not _BROKEN.search(text) else json.dumps(value, **options)


def parse_json(text: str | bytes, place: str) -> Any:
    """Parse JSON of a stranger. Raises DataError beginning with `place` for whatever is wrong with it."""
    try:
        return json.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # not JSON or UTF-8, a number of 5,000 digits, nested too deep
        raise DataError(f"{place}: not JSON", got=repr(text[:60])) from error
    except TypeError as error:  # a table's column may hold anything
        raise DataError(f"{place}: JSON is text", got=repr(text)[:60]) from error


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises DataError naming it if it is absent, larger than 1 GB, or not JSON."""
    path = Path(path)
    with _open(path) as file:  # its size first: `read` would take room for as much as it may read
        if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MB")
        data = file.read()
    return parse_json(data, str(path))


def read_object(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; see `read_json`."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise DataError(f"{path}: not a JSON object", got=type(found).__name__)
    return found


def read_rows(
    path: str | Path,
    on_bad: Callable[[int, str], None] | None = None,
    on_line: Callable[[bytes], None] = lambda line: None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, JSON object) of a JSON-lines file; blank lines are passed over.

    A line that is no JSON object raises DataError naming file and line; with `on_bad` it is told (line number,
    the error) and passed over. A line larger than 64 MB always raises. `on_line` is told the bytes of every line.
    """
    path = Path(path)
    with _open(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"{path}, line {number}: longer than {MAX_LINE_BYTES >> 20} MB")
            on_line(line)
            if line.strip():
                try:
                    row = parse_row(line, f"{path}, line {number}")
                except DataError as error:
                    if on_bad is None:
                        raise
                    on_bad(number, str(error))
                else:
                    yield number, row


def parse_row(line: bytes, place: str) -> dict[str, Any]:
    """Parse one line; raises DataError beginning with `place` for what is no JSON object."""
    row = parse_json(line, place)
    if not isinstance(row, dict):
        raise DataError(f"{place}: not a JSON object", got=type(row).__name__)
    return row


def _open(path: Path) -> Any:
    try:
        if path.exists() and not path.is_file():
            kind = "the folder" if path.is_dir() else "no regular file:"
            raise DataError("a file is needed", got=f"{kind} {path}")
        return path.open("rb")
    except FileNotFoundError as error:
        raise DataError("no such file", got=path) from error
    except (OSError, ValueError) as error:  # no permission, a name too long or with a zero byte
        raise DataError(f"{path}: cannot be read", got=getattr(error, "strerror", None) or error) from error
