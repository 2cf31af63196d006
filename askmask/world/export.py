"""Examples in other forms: the published dataset.jsonl / items.json of ConverSeg, and Parquet."""

from __future__ import annotations

from pathlib import Path

from askmask.formats import own
from askmask.formats.parquet import write_parquet
from askmask.runs.whole_files import write_json, write_rows
from askmask.world.generate import made_folder


def to_converseg(folder: Path) -> int:
    """Write dataset.jsonl, items.json and masks/ beside a folder's examples.jsonl; return how many rows.

    That format knows one prompt and one merged mask a row: rounds that refer to earlier ones are left out.
    """
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
    with made_folder(folder) as out:
        write_rows(out.path("dataset.jsonl"), rows)
        write_json(out.path("items.json"), {"dataset": "askmask-world", "count": len(items), "items": items})
    return len(rows)


def to_parquet(folder: Path) -> Path:
    """Write examples.parquet beside a folder's examples.jsonl: a row an Example, pictures inside."""
    with made_folder(folder) as out:
        target = out.path("examples.parquet")
        write_parquet(own.read_examples(folder, absolute_images=False), target, root=folder)
    return target
