"""The report of one scored run: a self-contained HTML page, Markdown, all counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from askmask.errors import DataError
from askmask.evaluation.opening import open_truths
from askmask.evaluation.report.cases import Case, choose, draw_cases
from askmask.evaluation.report.dialogues import dialogues_page
from askmask.evaluation.report.markdown import markdown_page
from askmask.evaluation.report.page import html_page
from askmask.evaluation.scoring import Scored
from askmask.evaluation.text_scores import read_texts
from askmask.formats import open_dataset
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import write_bytes, write_json, write_rows, write_text

__all__ = ["write_report"]


def write_report(
    folder: str | Path,
    scored: Scored,
    data: dict[str, Any],
    *,
    truth: str | Path,
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write report.html, report.md with cases/*.jpg, scores.json and counts.jsonl; return the HTML's path.

    Where there are dialogues, dialogues.html shows the best and the worst of them.
    `counts.jsonl` holds the whole-number counts of every item: `askmask compare` reads it, and any protocol
    that counts the same pixels can be computed from it again. `about` says of what run: model, data set, date.
    """
    data = data | {"run": dict(about or {})}
    cases: dict[str, list[Case]] = draw_cases(choose(scored), scored, open_truths(truth))
    drawn = list({case.id: case for part in cases.values() for case in part}.values())
    for number, case in enumerate(drawn, 1):
        case.file = f"cases/{number:02d}.jpg"
    rows = (row.to_dict() | {"protocol": scored.protocol.name} for row in scored.meter.rows)
    with output_folder(folder, "report of scores", {}) as out, out.anew() as fresh:
        write_json(fresh / "scores.json", data, indent=2)
        write_rows(fresh / "counts.jsonl", rows)
        for case in drawn:
            write_bytes(fresh / case.file, case.jpeg)
        write_text(fresh / "report.md", markdown_page(scored, data, cases))
        write_text(fresh / "report.html", html_page(scored, data, cases))
        if (page := _dialogues(scored, data, truth)) is not None:
            write_text(fresh / "dialogues.html", page)
    return Path(folder) / "report.html"


def _dialogues(scored: Scored, data: dict[str, Any], truth: str | Path) -> str | None:
    if scored.predictions is None or not any(row.conversation for row in scored.meter.rows):
        return None
    try:
        examples = list(open_dataset(str(truth)))
    except DataError:  # a ground-truth JSONL knows no dialogues
        return None
    return dialogues_page(scored, data, examples, read_texts(scored.predictions.path))
