"""What lmms-eval's tasks call: a document and its answer -> a row of counts; rows -> scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from askmask.errors import DataError
from askmask.evaluation.lmms.wire import read_or_none
from askmask.evaluation.meter import Meter, Row, count
from askmask.evaluation.protocols import protocol_named
from askmask.evaluation.scoring import Scored
from askmask.evaluation.truth import Truth
from askmask.imaging.mask import Mask

METRICS = ("gIoU", "cIoU", "N_acc", "T_acc", "Pr@0.5", "n_missing")


def truth_of_doc(doc: Mapping[str, Any]) -> Truth:
    """Read a document: {"id", "masks": list or JSON text of run-length codes, or "mask": a picture, "concept"?}."""
    name = str(doc["id"])
    if doc.get("mask") is not None:  # ConverSeg: a picture
        masks: tuple[Mask, ...] = (Mask.from_png(doc["mask"]),)
        size = masks[0].size
    else:
        values = doc["masks"]
        values = json.loads(values) if isinstance(values, str) else values
        size = (int(doc["size"][0]), int(doc["size"][1]))
        masks = tuple(Mask.from_dict(value) for value in values)
        if any(mask.size != size for mask in masks):
            raise DataError(f"document {name!r}: masks of another size than {list(size)}")
    ignore = doc.get("ignore")
    ignore = json.loads(ignore) if isinstance(ignore, str) and ignore else ignore
    return Truth(
        id=name,
        size=size,
        masks=masks,
        ignore=Mask.from_dict(ignore) if ignore else None,
        groups={key: str(doc[key]) for key in ("concept", "round", "length") if doc.get(key)},
    )


def process_results(
    doc: Mapping[str, Any], results: Sequence[str], protocol: str = "askmask"
) -> dict[str, Any]:
    """Count one answer; every metric gets the same row, as each aggregates the rows in its own way."""
    rules = protocol_named(protocol)
    truth = truth_of_doc(doc)
    answer = read_or_none(results[0] if results else "", truth.id, truth.size)
    row = count(truth, answer, use_ignore=rules.use_ignore, canvas=rules.canvas).to_dict()
    return {name: {"protocol": protocol, "row": row} for name in METRICS}


def aggregation(metric: str) -> Callable[[Sequence[Mapping[str, Any]]], float | None]:
    """Return the function that turns all rows into one score, None where it is undefined."""

    def aggregate(items: Sequence[Mapping[str, Any]]) -> float | None:
        # Launchers that pad the last batch repeat documents: each counts once.
        rows = {item["row"]["id"]: Row.from_dict(item["row"]) for item in items}
        if metric == "n_missing":
            return float(sum(row.missing for row in rows.values()))
        scored = Scored(protocol_named(items[0]["protocol"]), Meter(rows.values()))
        return scored.scores(scored.meter.rows)[metric]

    return aggregate
