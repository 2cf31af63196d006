"""ConverSeg in the three forms it is handed around in, read and written.

Hugging Face: aadarsh99/ConverSeg, named ConvSeg in its own script.

    Hub       ROOT/**/{sam_seeded,human_annotated}-*.parquet   columns id, image, mask, prompt, concept
    eval      items.json      {"dataset": "x", "count": 1, "items": [{"id": "1", "image": "images/1.jpg",
                               "mask": "masks/1.png", "prompt": "what could roll off", "concept"?: "physics"}]}
    train     dataset.jsonl   {"image": "images/1.jpg", "mask_merged": "masks/1.png", "prompt": "...",
                               "concept"?: "physics"}

One prompt and one merged mask each; a black mask says that nothing matches. What of a mask's file belongs to it, see
`imaging.files.read_mask_pixels`. Paths are relative to the file, or absolute.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from askmask.conversation import Example, Round
from askmask.errors import DataError, PictureError
from askmask.formats.parquet import read_table
from askmask.formats.pictures import keep_picture
from askmask.formats.reading import (
    UNREADABLE,
    choose_split,
    files_below,
    id_of,
    inside,
    item,
    prompt_of,
    read_json,
    text_of,
)
from askmask.imaging.files import picture_size
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.runs.json_text import read_rows
from askmask.runs.whole_files import write_json, write_rows

ITEMS, LINES = "items.json", "dataset.jsonl"
SPLITS = {LINES: "train", ITEMS: "eval"}  # what the plain files are, since their rows do not say


def read_converseg(
    root: str | Path, split: str | None = None, *, notes: Notes, prefer: str | None = None
) -> Iterator[Example]:
    """Yield one Example per row of a file (.parquet, .json, .jsonl) or of a folder.

    `split` chooses among Parquet files by their name or folder; of plain files dataset.jsonl is "train", items.json
    "eval".
    """
    root = Path(root)
    files = [root] if root.is_file() else files_below(root, "*.parquet")
    files = files or [root / name for name in SPLITS if (root / name).is_file()]
    if not files:
        raise DataError(f"no Parquet file, {ITEMS} or {LINES}", got=root)
    if any(path.suffix != ".parquet" for path in files):
        of_file = {
            path: {SPLITS.get(path.name, "eval" if path.suffix == ".json" else "train")} for path in files
        }
        if prefer == "val":
            prefer = "eval"
    else:
        of_file = {path: {path.stem.split("-")[0], *([path.parent.name] if split else [])} for path in files}
    split = choose_split(root, set().union(*of_file.values()), split, prefer)
    for path in files:
        if split in of_file[path]:
            yield from _read_file(path, split or "", notes)


def training_rows(path: Path, notes: Notes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, row) of a dataset.jsonl. Lines that lack a field are left out and counted."""
    for number, row in read_rows(path, lambda _, reason: notes.add(UNREADABLE, reason)):
        with item(f"{path}, line {number}", notes):
            if not all(isinstance(row.get(key), str) for key in ("image", "mask_merged", "prompt")):
                raise DataError('"image", "mask_merged" and "prompt" are needed', got=sorted(row))
            yield number, row


def training_row(path: Path, number: int, row: Mapping[str, Any]) -> Example:
    """Return the Example of one row of dataset.jsonl; its mask's file is read now."""
    return _example(row, "mask_merged", path, number, SPLITS[LINES])


def merged_rows(
    examples: Iterable[Example], folder: Path, *, notes: Notes, negatives: bool = True
) -> Iterator[dict[str, Any]]:
    """Write a mask's PNG below FOLDER/masks for each prompt that the format can hold, and yield its row.

    Rows are what `write_lines` and `write_items` take. Left out, and counted in `notes`: prompts without truth, those
    that need the rounds before them, and, unless `negatives`, those that nothing matches.
    """
    taken: set[str] = set()
    for example in examples:
        if example.size is None:
            raise DataError(f"example {example.id!r}: the picture's size is unknown")
        for round in example.rounds:
            mask = round.mask(example.size)
            why = (
                "no truth"
                if mask is None
                else "they need the rounds before them"
                if round.needs_history
                else ""
            )
            if mask is None or why or not (mask or negatives):
                notes.add(f"prompts not in ConverSeg's format: {why or 'nothing matches them'}", example.id)
                continue
            name = example.id if len(example.rounds) == 1 else f"{example.id}-{round.id}"
            file = re.sub(r"[^\w.-]|^\.", "_", name)[:120]
            file = file if file not in taken else f"{file}-{len(taken)}"
            taken.add(file)
            mask.to_png(folder / "masks" / f"{file}.png")
            row = {"id": name, "image": example.image, "mask": f"masks/{file}.png", "prompt": round.text}
            yield row | ({"concept": round.concept} if round.concept else {})


def write_lines(rows: Iterable[Mapping[str, Any]], folder: Path) -> int:
    """Write FOLDER/dataset.jsonl, whole or not at all; return the number of rows."""
    keys = {"image": "image", "mask": "mask_merged", "prompt": "prompt", "concept": "concept"}
    return write_rows(
        folder / LINES, ({new: row[key] for key, new in keys.items() if key in row} for row in rows)
    )


def write_items(rows: Sequence[Mapping[str, Any]], folder: Path, *, name: str) -> int:
    """Write FOLDER/items.json, whole or not at all; return the number of rows."""
    write_json(folder / ITEMS, {"dataset": name, "count": len(rows), "items": list(rows)})
    return len(rows)


def _read_file(path: Path, split: str, notes: Notes) -> Iterator[Example]:
    if path.suffix == ".parquet":
        rows: Any = read_table(path, ["id", "image", "mask", "prompt", "concept"])
        key, what = "mask", "row"
    elif path.suffix == ".json":
        items = read_json(path).get("items")
        if not isinstance(items, list):
            raise DataError(f'{path}: a list "items" is needed', got=type(items).__name__)
        rows, key, what = enumerate(items), "mask", "item"
    else:
        rows, key, what = training_rows(path, notes), "mask_merged", "line"
    for number, row in rows:
        with item(f"{path}, {what} {number}", notes):
            yield _example(row, key, path, number, split)


def _example(row: Mapping[str, Any], key: str, path: Path, number: int, split: str) -> Example:
    image = _stored(row["image"], path.parent)
    mask = Mask.from_png(_stored(row[key], path.parent, keep=False))
    try:
        size = picture_size(image)
    except PictureError:
        size = mask.size  # whoever reads the picture will hear what is wrong with it
    if mask.size != size:
        raise DataError("picture and mask differ in size", got=f"{list(size)} and {list(mask.size)}")
    concept = row.get("concept")
    return Example(
        id=f"{path.stem}-{number}" if row.get("id") is None else id_of(row["id"]),
        image=str(image),
        size=size,
        source="converseg",
        split=split,
        rounds=(
            Round.of(
                # The published training has empty prompts; the benchmark has none.
                (text_of if key == "mask_merged" else prompt_of)(row["prompt"], "prompt"),
                masks=(mask,) if mask else (),
                concept=None if concept is None else text_of(concept, "concept"),
            ),
        ),
    )


def _stored(value: Any, folder: Path, *, keep: bool = True) -> Any:
    """Return the path, or with `keep` off the bytes, of a picture that a table holds as {"bytes", "path"} or either."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return keep_picture(value) if keep else value
    return inside(folder, value)
