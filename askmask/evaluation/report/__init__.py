"""The report of one scored run: a self-contained HTML page, Markdown, all counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from askmask.evaluation.opening import open_truths
from askmask.evaluation.predictions import PredictionFiles
from askmask.evaluation.report.cases import Case, choose, draw_cases
from askmask.evaluation.report.markdown import markdown_page
from askmask.evaluation.report.page import html_page
from askmask.evaluation.scoring import Scored

__all__ = ["write_report"]


def write_report(
    folder: str | Path, scored: Scored, data: dict[str, Any], *, predictions: str | Path, truth: str | Path
) -> Path:
    """Write report.html, report.md with cases/*.jpg, scores.json and counts.jsonl; return the HTML's path.

    `counts.jsonl` holds the whole-number counts of every item: `askmask compare` reads it, and any protocol
    that counts the same pixels can be computed from it again.
    """
    folder = Path(folder)
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(
        json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )
    with (folder / "counts.jsonl").open("w", encoding="utf-8") as file:
        for row in scored.meter.rows:
            file.write(
                json.dumps(row.to_dict() | {"protocol": scored.protocol.name}, ensure_ascii=False) + "\n"
            )
    chosen = choose(scored)
    with PredictionFiles(predictions) as files:
        cases: dict[str, list[Case]] = draw_cases(chosen, scored, files, open_truths(truth))
    for number, case in enumerate({case.id: case for part in cases.values() for case in part}.values(), 1):
        case.file = f"cases/{number:02d}.jpg"
        (folder / case.file).write_bytes(case.jpeg)
    (folder / "report.md").write_text(markdown_page(scored, data, cases), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(html_page(scored, data, cases), encoding="utf-8")
    return page
