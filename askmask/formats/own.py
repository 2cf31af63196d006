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
from typing import Any

from askmask.conversation import Example
from askmask.errors import DataError
from askmask.formats.reading import UNREADABLE, inside, item, naming
from askmask.notes import Notes
from askmask.runs.json_text import read_rows
from askmask.runs.whole_files import write_rows


def read_examples(
    path: str | Path, *, absolute_images: bool = True, notes: Notes | None = None
) -> Iterator[Example]:
    """Yield the Examples of a JSONL file (or of `examples.jsonl` in a folder), in order.

    Relative image paths are made absolute against the file's folder unless `absolute_images` is False. A line that
    is not as documented raises DataError naming it; with `notes` it is left out and counted.
    """
    path = Path(path)
    path = path / "examples.jsonl" if path.is_dir() else path
    left_out = None if notes is None else lambda _, why: notes.add(UNREADABLE, why)
    for number, row in read_rows(path, left_out):
        where = f"{path}, line {number}"
        with item(where, notes) if notes is not None else naming(where):
            yield example_of(row, path.parent if absolute_images else None)


def example_of(row: dict[str, Any], folder: Path | None) -> Example:
    """Read one row; masks must be of one size. A relative image is taken from `folder` if that is given."""
    example = Example.from_dict(row)
    sizes = {
        mask.size
        for round in example.rounds
        for mask in (*(round.masks or ()), round.ignore)
        if mask is not None
    }
    if len(sizes | ({example.size} if example.size else set())) > 1:
        raise DataError(f"example {example.id!r}: masks of different sizes", got=sorted(sizes))
    return example if folder is None else replace(example, image=str(inside(folder, example.image)))


def write_examples(examples: Iterable[Example], path: str | Path) -> int:
    """Write a JSONL file whole or not at all; return the number of Examples. Equal Examples are equal bytes."""
    return write_rows(path, (example.to_dict() for example in examples), compact=True)
