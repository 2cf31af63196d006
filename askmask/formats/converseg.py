"""ConverSeg in the three forms it is handed around in.

Hugging Face: aadarsh99/ConverSeg, named ConvSeg in its own script.

    Hub       ROOT/**/{sam_seeded,human_annotated}-*.parquet   columns id, image, mask, prompt, concept
    eval      items.json      {"dataset": "x", "count": 1, "items": [{"id": "1", "image": "images/1.jpg",
                               "mask": "masks/1.png", "prompt": "what could roll off", "concept"?: "physics"}]}
    training  dataset.jsonl   {"image": "images/1.jpg", "mask_merged": "masks/1.png", "prompt": "..."}

One prompt and one merged mask each. A pixel belongs to the mask where its value is not zero; in the Hub form
where its alpha is not zero, if the mask has one. Paths are relative to the file, or absolute.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats.parquet import read_table
from askmask.formats.pictures import keep_picture
from askmask.formats.reading import inside, naming, picture_size, read_json
from askmask.imaging.files import MAX_PICTURE_PIXELS
from askmask.imaging.mask import Mask
from askmask.runs.json_text import read_rows

SPLITS = ("sam_seeded", "human_annotated")


def read_converseg(root: str | Path, split: str | None = None) -> Iterator[Example]:
    """Yield one Example per row of a file (.parquet, .json, .jsonl) or of a folder in the Hub's layout.

    In a folder `split` chooses the Parquet files; without Parquet, items.json or dataset.jsonl is read.
    """
    root = Path(root)
    if root.is_file():
        yield from _read_file(root, split or root.stem.split("-")[0])
        return
    tables = sorted(root.rglob("*.parquet"))
    if tables:
        if split is None:
            found = sorted({table.stem.split("-")[0] for table in tables})
            raise DataError(
                "splits are never pooled: one must be named", got=root, do=f"Add @ and one of {found}."
            )
        chosen = [
            table for table in tables if table.stem.split("-")[0] == split or table.parent.name == split
        ]
        if not chosen:
            raise DataError(
                f"{root} has no Parquet file of split {split!r}", got=[t.name for t in tables][:6]
            )
        for table in chosen:
            yield from _read_file(table, split)
        return
    for name in ("items.json", "dataset.jsonl"):
        if (root / name).is_file():
            yield from _read_file(root / name, split or "")
            return
    raise DataError("no Parquet file, items.json or dataset.jsonl", got=root)


def _read_file(path: Path, split: str) -> Iterator[Example]:
    if path.suffix == ".parquet":
        for number, row in read_table(path, ["id", "image", "mask", "prompt", "concept"]):
            with naming(f"{path}, row {number}"):
                image = _stored(row["image"], path.parent)
                mask = _alpha_or_luminance(_stored(row["mask"], path.parent))
                name = str(row["id"]) if row["id"] is not None else f"{split}-{number}"
                yield _example(name, image, mask, row["prompt"], row["concept"], split)
        return
    if path.suffix == ".json":
        items = read_json(path).get("items")
        if not isinstance(items, list):
            raise DataError(f'{path}: a list "items" is needed', got=type(items).__name__)
        rows: Any = enumerate(items)
        mask_key, what = "mask", "item"
    else:
        rows, mask_key, what = read_rows(path), "mask_merged", "line"
    for number, row in rows:
        with naming(f"{path}, {what} {number}"):
            yield _row(path, number, row, mask_key, split)


def training_row(path: Path, number: int, row: dict[str, Any]) -> Example:
    """Return the Example of one row of dataset.jsonl; its mask's file is read now."""
    return _row(path, number, row, "mask_merged", "")


def _row(path: Path, number: int, row: dict[str, Any], mask_key: str, split: str) -> Example:
    image = inside(path.parent, row["image"])
    mask = Mask.from_png(inside(path.parent, row[mask_key]))
    name = str(row.get("id", f"{path.stem}-{number}"))
    return _example(name, image, mask, row.get("prompt") or "", row.get("concept"), split)


def _example(name: str, image: Path, mask: Mask, prompt: str, concept: str | None, split: str) -> Example:
    size = picture_size(image)
    if mask.size != size:
        raise DataError("picture and mask differ in size", got=f"{list(size)} and {list(mask.size)}")
    return Example(
        id=name,
        image=str(image),
        size=size,
        source="converseg",
        split=split,
        rounds=(Round.of(prompt, masks=(mask,) if mask else (), concept=concept),),
    )


def _stored(value: Any, folder: Path) -> Path:
    """Return the path of a picture that a table holds as {"bytes", "path"}, as bytes, or as a path."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return keep_picture(value)
    return inside(folder, value)


def _alpha_or_luminance(path: Path) -> Mask:
    height, width = picture_size(path)
    if height * width > MAX_PICTURE_PIXELS:
        raise DataError("a mask of too many pixels", got=f"{width} x {height}")
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        has_alpha = image.mode in ("RGBA", "LA", "PA")
        array = np.asarray(image.getchannel("A") if has_alpha else image.convert("L"))
    return Mask.from_array(array)
