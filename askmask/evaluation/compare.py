"""Paired comparison of two runs over the same items: differences with bootstrap intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from askmask.errors import AskMaskError, DataError
from askmask.evaluation.bootstrap import cluster_sums, percentile_interval, resampled_sums
from askmask.evaluation.meter import Meter, Row
from askmask.evaluation.protocols import protocol_named, scores_of, sum_terms
from askmask.evaluation.scoring import Scored, clusters, defined
from askmask.runs.json_text import read_rows


def compare(a: Scored, b: Scored, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return, per score, both values, the difference B - A and its interval over the same resamples.

    Only items in both runs are compared. Raises DataError if there is none, or if the runs saw other truths.
    """
    if a.protocol != b.protocol:
        raise DataError(
            "runs scored by different protocols cannot be compared",
            got=f"{a.protocol.name}, {b.protocol.name}",
        )
    rows_a = [row for row in a.meter.rows if row.id in b.meter]
    shared = {row.id for row in rows_a}
    rows_b = [row for row in b.meter.rows if row.id in shared]
    if not rows_a:
        raise DataError("the two runs share no item", do="Score both against the same ground truth.")
    for row_a, row_b in zip(rows_a, rows_b, strict=True):
        if row_a.true != row_b.true or row_a.no_target != row_b.no_target:
            raise DataError(
                f"id {row_a.id!r} has another ground truth in A than in B",
                got=f"{row_a.true} and {row_b.true} px",
                do="Score both against the same ground truth.",
            )
    table_a, table_b = a.terms(rows_a), b.terms(rows_b)
    both = np.concatenate([cluster_sums(table, clusters(rows_a)) for table in (table_a, table_b)], axis=1)
    drawn = resampled_sums(both, resamples=resamples, seed=seed) if resamples else None
    width = table_a.shape[1]
    point_a, point_b = (defined(scores_of(sum_terms(t), a.protocol)) for t in (table_a, table_b))
    scores: dict[str, dict[str, Any]] = {}
    for name, value_a in point_a.items():
        value_b = point_b[name]
        scores[name] = {
            "a": value_a,
            "b": value_b,
            "difference": None if value_a is None or value_b is None else value_b - value_a,
            "interval": None,
            "b_better": None,
        }
    if drawn is not None:
        drawn_a, drawn_b = (scores_of(part, a.protocol) for part in (drawn[:, :width], drawn[:, width:]))
        for name, row in scores.items():
            differences = drawn_b[name] - drawn_a[name]
            row["interval"] = percentile_interval(differences)
            if row["interval"] is not None:
                finite = differences[np.isfinite(differences)]
                row["b_better"] = float((finite > 0).mean() + 0.5 * (finite == 0).mean())
    iou_a, iou_b = a.ious(rows_a), b.ious(rows_b)
    notes = []
    for name, run in (("A", a), ("B", b)):
        if len(run.meter) > len(rows_a):
            notes.append(f"{len(run.meter) - len(rows_a)} items are in {name} alone and were left out.")
        if run.missing:
            notes.append(f"{len(run.missing)} items have no prediction in {name}: scored as the empty mask.")
    return {
        "protocol": a.protocol.name,
        "n": len(rows_a),
        "scores": scores,
        "a_wins": int((iou_a > iou_b).sum()),
        "b_wins": int((iou_b > iou_a).sum()),
        "ties": int((iou_a == iou_b).sum()),
        "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95},
        "notes": notes,
    }


def read_counts(folder: str | Path, protocol: str, *, min_pixels: int = 0) -> Scored:
    """Read the item-level counts of a report folder and put them under a protocol.

    Counts of SegLLM's canvas, and counts with ignored regions left out, are other counts: a protocol that
    counts otherwise than the one the report was made with is refused.
    """
    path = Path(folder) / "counts.jsonl"
    wanted = protocol_named(protocol)
    meter = Meter()
    for number, row in read_rows(path):
        try:
            made = protocol_named(row.pop("protocol", protocol))
            meter.add(Row.from_dict(row))
        except AskMaskError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        if (made.canvas, made.use_ignore) != (wanted.canvas, wanted.use_ignore):
            raise DataError(
                f"{path}, line {number}: counted for protocol {made.name}, which counts other pixels than {protocol}",
                do=f"Score again with --protocol {protocol}.",
            )
    missing = tuple(row.id for row in meter.rows if row.missing)
    return Scored(wanted, meter, missing, min_pixels=min_pixels)
