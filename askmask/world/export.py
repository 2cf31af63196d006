"""Examples in other forms: the published dataset.jsonl / items.json of ConverSeg, and Parquet."""

from __future__ import annotations

import json
from pathlib import Path

from askmask.formats import own
from askmask.formats.parquet import write_parquet


def to_converseg(folder: Path) -> int:
    """Write dataset.jsonl, items.json and masks/ beside a folder's examples.jsonl; return how many rows.

    That format knows one prompt and one merged mask a row: rounds that refer to earlier ones are left out.
    """
    (folder / "masks").mkdir(exist_ok=True)
    rows, items = [], []
    for example in own.read_examples(folder, absolute_images=False):
        if len(example.rounds) != 1 or example.size is None:
            continue
        asked = example.rounds[0]
        mask = asked.mask(example.size)
        if mask is None:
            continue
        path = f"masks/{example.id}.png"
        mask.to_png(folder / path)
        rows.append({"image": example.image, "mask_merged": path, "prompt": asked.text})
        items.append(
            {
                "id": example.id,
                "image": example.image,
                "mask": path,
                "prompt": asked.text,
                "concept": asked.concept,
            }
        )
    _write(folder / "dataset.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    head = {"dataset": "askmask-world", "count": len(items), "items": items}
    _write(folder / "items.json", json.dumps(head, ensure_ascii=False, indent=1) + "\n")
    return len(rows)


def to_parquet(folder: Path) -> Path:
    """Write examples.parquet beside a folder's examples.jsonl: a row an Example, pictures inside."""
    target = folder / "examples.parquet"
    write_parquet(own.read_examples(folder, absolute_images=False), target, root=folder)
    return target


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
