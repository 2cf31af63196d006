"""Runs of `askmask eval` side by side: scores with intervals, calls, seconds and cost; Markdown, HTML, CSV."""

from __future__ import annotations

import csv
import html
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from askmask.errors import DataError
from askmask.runs.append_log import whole_rows
from askmask.runs.json_text import read_object
from askmask.runs.manifest import MANIFEST

Row = dict[str, str]
FORMATS = ("markdown", "html", "csv")


def rows_of(runs: Sequence[str | Path]) -> tuple[list[Row], tuple[str, ...]]:
    """Return one row for each run, all with the same columns, and what makes them hard to compare.

    Raises DataError for a folder without scores.
    """
    read = [_read(Path(run)) for run in runs]
    concepts = sorted({name for _, scores, _ in read for name in scores["groups"].get("concept", {})})
    rows = [_row(facts, scores, stats, concepts) for facts, scores, stats in read]
    notes = []
    for what in ("protocol", "data", "reference"):
        if len({row[what] for row in rows}) > 1:
            notes.append(f"the runs differ in {what}")
    if any(row["missing"] != "0" for row in rows):
        notes.append("missing answers count as empty masks")
    return rows, tuple(notes)


def written(rows: Sequence[Row], notes: Sequence[str], kind: str) -> str:
    """Return the table as text."""
    names = list(rows[0])
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
    if kind == "html":
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(row[name])}</td>" for name in names) + "</tr>\n"
            for row in rows
        )
        said = "".join(f"<p>note: {html.escape(note)}</p>\n" for note in notes)
        return f"<table>\n<tr>{head}</tr>\n{body}</table>\n{said}"
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"note: {note}" for note in notes)]).rstrip() + "\n"


def _read(run: Path) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    if not (run / "scores.json").is_file() or not (run / MANIFEST).is_file():
        raise DataError(
            "no scored run of askmask eval there", got=run, do="Run `askmask eval ... --out` first."
        )
    stats = [row for path in sorted(run.glob("stats-*.jsonl")) for row in whole_rows(path)]
    return read_object(run / MANIFEST).get("facts", {}), read_object(run / "scores.json"), stats


def _row(
    facts: dict[str, Any], scores: dict[str, Any], stats: list[dict[str, Any]], concepts: list[str]
) -> Row:
    used: Counter[str] = Counter()
    for row in stats:
        used.update(row.get("used", {}))
    # What was paid holds answers that came to nothing, and leaves out replies that were there already.
    usd = sum(row.get("paid", row.get("used", {})).get("usd", 0.0) for row in stats)
    items = sum(row["items"] for row in stats)
    row = {
        "model": str(facts.get("model", "")),
        "gIoU %": _with_range(scores, "gIoU"),
        "cIoU %": _with_range(scores, "cIoU"),
        "N_acc %": _with_range(scores, "N_acc"),
    }
    groups = scores["groups"].get("concept", {})
    row |= {f"{name} gIoU %": _percent(groups.get(name, {}).get("gIoU")) for name in concepts}
    row |= {
        "items": str(scores["n"]),
        "missing": str(scores["n_missing"]),
        "seconds each": f"{sum(r['seconds'] for r in stats) / items:.3f}" if items else "",
        "calls each": f"{used['calls'] / items:.2f}" if used and items else "",
        "dollars": f"{usd:.4f}" if usd else "",
        "protocol": str(scores["protocol"]),
        "read by": str(facts.get("net_protocol", "")),
        "data": str(facts.get("dataset", "")),
        "reference": str(facts.get("reference", "")),
    }
    return row


def _with_range(scores: dict[str, Any], name: str) -> str:
    found = scores["intervals"].get(name)
    return _percent(scores.get(name)) + (f" ({100 * found[0]:.1f} to {100 * found[1]:.1f})" if found else "")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
