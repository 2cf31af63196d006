"""Logs of JSON lines that only grow: a killed process costs at most its last, unfinished line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from askmask.errors import DataError
from askmask.runs.json_text import MAX_LINE_BYTES, json_text, parse_row
from askmask.runs.whole_files import writing


class AppendLog:
    """One open log. Made by `OutputFolder.log`, which knows that the file is ours: opening may shorten it.

    A last line without its line end was cut off by a kill or a full disk; opening removes it, and what it told
    is done again.
    """

    def __init__(self, path: Path):
        self.path = path
        with writing(path):
            self._file = path.open("ab")
        cut_torn_line(path)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one line in one call and hand it to the system, so that a kill leaves whole lines but the last."""
        line = json_text(row).encode() + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"{self.path}: a line may have {MAX_LINE_BYTES >> 20} MB", got=f"{len(line)} bytes"
            )
        with writing(self.path):
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with writing(self.path):
            self._file.close()

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def whole_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a log that another process may be writing: a last line without its line end is not there."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                yield parse_row(line, f"{path}, line {number}")


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that has no line end. Only for files of ours."""
    with path.open("r+b") as file:
        end = whole = file.seek(0, 2)
        while whole:
            start = max(0, whole - (1 << 16))
            file.seek(start)
            newline = file.read(whole - start).rfind(b"\n")
            if newline >= 0:
                whole = start + newline + 1
                break
            whole = start
        if whole < end:
            file.truncate(whole)
