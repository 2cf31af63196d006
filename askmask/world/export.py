"""A folder's Examples in other forms: the published dataset.jsonl / items.json of ConverSeg, and Parquet."""

from __future__ import annotations

from pathlib import Path

from askmask.formats import own
from askmask.formats.converseg import merged_rows, write_items, write_lines
from askmask.formats.parquet import write_parquet
from askmask.notes import Notes


def to_converseg(folder: Path) -> int:
    """Write dataset.jsonl, items.json and masks/ beside a folder's examples.jsonl; return how many rows.

    That format knows one prompt and one merged mask a row; how many others were left out is said.
    """
    notes = Notes()
    rows = list(merged_rows(own.read_examples(folder, absolute_images=False), folder, notes=notes))
    write_lines(rows, folder)
    notes.say(str(folder))
    return write_items(rows, folder, name="askmask-world")


def to_parquet(folder: Path) -> Path:
    """Write examples.parquet beside a folder's examples.jsonl: a row an Example, pictures inside."""
    target = folder / "examples.parquet"
    write_parquet(own.read_examples(folder, absolute_images=False), target, root=folder)
    return target
