"""Write any data set as an lmms-eval task: a Parquet table and the YAML that names it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from askmask.conversation import Example
from askmask.errors import DataError, MissingExtra, SettingError
from askmask.evaluation.protocols import protocol_named
from askmask.evaluation.truth import item_id
from askmask.formats.reading import naming
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import open_whole, write_text

_YAML = """task: {name}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {table}
test_split: test
output_type: generate_until
doc_to_visual: !function {utils}.doc_to_visual
doc_to_text: !function {utils}.doc_to_text
doc_to_target: ""
process_results: !function {utils}.process_results
generation_kwargs:
  max_new_tokens: 2048
metric_list:
{metrics}
metadata:
  version: 1
  protocol: {protocol}
"""

_UTILS = '''"""Functions that the task beside this file calls."""

from functools import partial
from typing import Any

from askmask.evaluation.lmms.results import aggregation
from askmask.evaluation.lmms.results import process_results as _process

process_results = partial(_process, protocol="{protocol}")
{aggregations}


def doc_to_visual(doc: dict[str, Any]) -> list[Any]:
    """Return the pictures of a document."""
    return [doc["image"].convert("RGB")]


def doc_to_text(doc: dict[str, Any]) -> str:
    """Return the prompt."""
    return str(doc.get("expression") or doc["prompt"])
'''


def write_task(
    examples: Iterable[Example], folder: str | Path, name: str, *, protocol: str = "askmask"
) -> Path:
    """Write FOLDER/NAME.parquet, NAME.yaml and NAME_utils.py; return the YAML's path.

    `lmms-eval --include_path FOLDER --tasks NAME` then runs it with any model that answers in the wire format.
    Rounds are asked one by one, without history. Pictures are embedded.
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "eval") from error
    protocol_named(protocol)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SettingError("a task's name must be small letters, digits and _", got=repr(name))
    folder = Path(folder)
    rows = [row for example in examples for row in _rows(example)]
    if not rows:
        raise DataError("the data set holds no labelled round")
    feature = {"info": {"features": {"image": {"_type": "Image"}}}}
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    text, number = pyarrow.string(), pyarrow.int64()
    columns = {
        "id": text, "image": image, "image_id": text, "expression": text, "size": pyarrow.list_(number),
        "masks": text, "ignore": text, "concept": text, "round": text, "length": text,
    }  # fmt: skip
    table = pyarrow.Table.from_pylist(rows, pyarrow.schema(list(columns.items()))).replace_schema_metadata(
        {"huggingface": json.dumps(feature)}
    )
    utils = f"{name}_utils"
    with output_folder(folder, "lmms-eval task") as out:
        target, code, path = out.paths([f"{name}.parquet", f"{utils}.py", f"{name}.yaml"])
        with open_whole(target) as file:
            parquet.write_table(table, file, row_group_size=64)
        write_text(code, utils_text(protocol))
        text = _YAML.format(
            name=name, utils=utils, protocol=protocol, table=(folder / f"{name}.parquet").resolve(),
            metrics=metric_list(utils),
        )  # fmt: skip
        write_text(path, text)
    return path


def utils_text(protocol: str) -> str:
    """Return the Python file that a task's YAML names functions of."""
    from askmask.evaluation.lmms.results import METRICS

    lines = "\n".join(f'{_name(metric)} = aggregation("{metric}")' for metric in METRICS)
    return _UTILS.format(protocol=protocol, aggregations=lines)


def metric_list(utils: str) -> str:
    """Return the YAML lines of all metrics."""
    from askmask.evaluation.lmms.results import METRICS

    return "\n".join(
        f"  - metric: {metric}\n    aggregation: !function {utils}.{_name(metric)}\n"
        f"    higher_is_better: {'false' if metric == 'n_missing' else 'true'}"
        for metric in METRICS
    )


def _name(metric: str) -> str:
    return re.sub(r"\W", "_", metric).lower()


def _rows(example: Example) -> list[dict[str, Any]]:
    rows = []
    for index, round in enumerate(example.rounds):
        if round.masks is None:
            continue
        with naming(f"example {example.id!r}"):
            path = Path(example.image)
            if not path.is_file():
                raise DataError("its picture is not there", got=path)
            size = example.size or next((mask.size for mask in round.masks), None)
            if size is None:
                raise DataError("the picture's size is unknown")
            rows.append(
                {
                    "id": item_id(example, index),
                    "image": {"bytes": path.read_bytes(), "path": path.name},
                    "image_id": example.image,
                    "expression": round.text,
                    "size": list(size),
                    "masks": json.dumps([mask.to_dict() for mask in round.masks]),
                    "ignore": json.dumps(round.ignore.to_dict()) if round.ignore else "",
                    "concept": round.concept or "",
                    "round": str(index + 1) if len(example.rounds) > 1 else "",
                    "length": str(round.meta.get("length", "")),
                }
            )
    return rows
