"""Parquet tables: rows of any, and our own Examples with their pictures inside.

One row of our own table: "id", "image" {"bytes", "path"} (shown by the Hugging Face viewer), "prompts" (the
rounds' prompts, for people), "example" (the whole Example as one line of JSON, see own.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from askmask.conversation import Example
from askmask.errors import DataError, MissingExtra
from askmask.formats.own import example_of
from askmask.formats.pictures import keep_picture
from askmask.formats.reading import item, naming
from askmask.notes import Notes
from askmask.runs.json_text import json_text, parse_row
from askmask.runs.whole_files import open_whole

ROWS_PER_GROUP = 64  # as written
ROWS_AT_ONCE = 16  # as read: pictures are large
MAX_COLUMN_BYTES, MAX_RATIO = (
    256 << 20,
    200,
)  # a column of a group that is larger, compressed more than that, is a bomb


def read_table(path: str | Path, columns: list[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 0, row) of a Parquet file, a small batch in memory at a time."""
    parquet = _pyarrow_parquet()
    try:
        file = parquet.ParquetFile(path)
    except FileNotFoundError as error:
        raise DataError("no such file", got=path) from error
    except Exception as error:  # pyarrow raises its own and OSError for damaged files
        raise DataError(f"{path}: not a Parquet file", got=error) from error
    with file:
        missing = set(columns or ()) - set(file.schema_arrow.names)
        if missing:
            raise DataError(
                f"{path}: columns are missing", got=f"{file.schema_arrow.names} without {sorted(missing)}"
            )
        _check_expansion(file.metadata, path)
        number = 0
        batches = file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:  # as above, for damaged pages
                raise DataError(f"{path}, after row {number}: the file is damaged", got=error) from error
            for row in range(batch.num_rows):
                try:
                    (values,) = batch.slice(row, 1).to_pylist()
                except Exception as error:  # text that is no text
                    raise DataError(f"{path}, row {number}: the file is damaged", got=error) from error
                yield number, values
                number += 1


def _check_expansion(metadata: Any, path: str | Path) -> None:
    """Raise DataError for a file of which a few kilobytes would become gigabytes."""
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            plain, packed = column.total_uncompressed_size, column.total_compressed_size
            if plain > MAX_COLUMN_BYTES and plain > MAX_RATIO * packed:
                raise DataError(
                    f"{path}: column {column.path_in_schema} is compressed more than {MAX_RATIO}-fold",
                    got=f"{plain >> 20} MB in {packed >> 10} kB",
                )


def write_parquet(
    examples: Iterable[Example], path: str | Path, *, root: str | Path | None = None, embed: bool = True
) -> int:
    """Write Examples to one Parquet file, whole or not at all; return their number.

    With `embed` each row carries its picture's bytes, read from `image` (relative ones below `root`).
    """
    parquet = _pyarrow_parquet()
    import pyarrow

    schema = pyarrow.schema(
        [
            ("id", pyarrow.string()),
            ("image", pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])),
            ("prompts", pyarrow.list_(pyarrow.string())),
            ("example", pyarrow.string()),
        ],
        # What the Hugging Face viewer needs to show the column as pictures.
        metadata={"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})},
    )
    count = 0
    rows: list[dict[str, Any]] = []
    with open_whole(path) as file, parquet.ParquetWriter(file, schema) as writer:
        for example in examples:
            data = None
            if embed:
                source = Path(root or ".") / example.image
                with naming(f"example {example.id!r}"):
                    if not source.is_file():
                        raise DataError("its picture is not there", got=source)
                    data = source.read_bytes()
            rows.append(
                {
                    "id": _shown(example.id),
                    "image": {"bytes": data, "path": _shown(example.image)},
                    "prompts": [_shown(round.text) for round in example.rounds],
                    "example": json_text(example.to_dict(), compact=True),
                }
            )
            count += 1
            if len(rows) == ROWS_PER_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows.clear()
        if rows or not count:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    return count


def read_parquet(path: str | Path, *, notes: Notes, pictures: str | Path | None = None) -> Iterator[Example]:
    """Yield the Examples of our own Parquet file; rows that are not as documented are left out and counted.

    Embedded pictures are written once to the folder `pictures` (default: the user's cache) and `image` points
    there; without bytes a relative `image` is taken from the file's folder.
    """
    path = Path(path)
    for number, row in read_table(path, ["image", "example"]):
        with item(f"{path}, row {number}", notes):
            example = example_of(parse_row(row["example"], "column example"), path.parent)
            image = row["image"] or {}
            if image.get("bytes"):
                kept = keep_picture(image["bytes"], folder=None if pictures is None else Path(pictures))
                example = replace(example, image=str(kept))
            yield example


def _shown(text: str) -> str:
    """Return text as a column can hold it: what is no text is shown as \\udcff, as JSON has it in "example"."""
    return text.encode("utf-8", "backslashreplace").decode()


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "eval") from error
    return parquet
