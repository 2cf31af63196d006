"""Examples in other forms: the published dataset.jsonl / items.json of ConverSeg, and Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from askmask.datasets import own
from askmask.errors import MissingExtra
from askmask.records import Example

BATCH = 2000  # rows of a Parquet row group


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
        rows.append({"image": example.image, "mask_merged": path, "prompt": asked.prompt})
        items.append(
            {
                "id": example.id,
                "image": example.image,
                "mask": path,
                "prompt": asked.prompt,
                "concept": asked.concept,
            }
        )
    _write(folder / "dataset.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    head = {"dataset": "askmask-world", "count": len(items), "items": items}
    _write(folder / "items.json", json.dumps(head, ensure_ascii=False, indent=1) + "\n")
    return len(rows)


def to_parquet(folder: Path) -> Path:
    """Write examples.parquet beside a folder's examples.jsonl: a row an Example, pictures inside."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", "eval") from error

    text = ("id", "source", "split", "licence", "prompt", "concept", "family", "rounds", "meta")
    schema = pa.schema(
        [(name, pa.string()) for name in text]
        + [("height", pa.int32()), ("width", pa.int32())]
        + [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    )
    target, partial = folder / "examples.parquet", folder / "examples.parquet.partial"
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for batch in _batches(own.read_examples(folder, absolute_images=False)):
            writer.write_table(pa.Table.from_pylist([_row(example, folder) for example in batch], schema))
    partial.replace(target)
    return target


def _row(example: Example, folder: Path) -> dict:
    data, first = example.to_dict(), example.rounds[0]
    height, width = example.size or (None, None)
    return {
        "id": example.id,
        "source": example.source,
        "split": example.split,
        "licence": example.licence,
        "prompt": first.prompt,
        "concept": first.concept,
        "family": first.family,
        "rounds": json.dumps(data["rounds"], ensure_ascii=False, separators=(",", ":")),
        "meta": json.dumps(data.get("meta", {}), ensure_ascii=False, separators=(",", ":")),
        "height": height,
        "width": width,
        "image": {"bytes": (folder / example.image).read_bytes(), "path": example.image},
    }


def _batches(examples: Iterator[Example]) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for example in examples:
        batch.append(example)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
