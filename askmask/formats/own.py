"""askmask's own data files: JSON lines, one Example a line, pictures beside it. Read and written here only.

One row of `examples.jsonl`:

    {"schema": 2, "id": "tabletop-7", "image": "images/7.png", "size": [192, 192], "rounds": [
        {"id": "r1", "prompt": "what could roll off", "concept": "physics",
         "segments": [{"id": "m1", "size": [192, 192], "counts": "..."}]}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from askmask.conversation import Example
from askmask.errors import AskMaskError, DataError
from askmask.runs.json_text import read_rows
from askmask.runs.whole_files import write_rows


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


def write_examples(examples: Iterable[Example], path: str | Path) -> int:
    """Write a JSONL file whole or not at all; return the number of Examples. Equal Examples are equal bytes."""
    return write_rows(path, (example.to_dict() for example in examples), compact=True)
