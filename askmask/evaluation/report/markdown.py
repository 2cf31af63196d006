"""The report as Markdown, for pull requests and model cards."""

from __future__ import annotations

import re
from typing import Any

from askmask.evaluation.report.cases import Case
from askmask.evaluation.report.page import interval, percent, told
from askmask.evaluation.scoring import Scored, telling_groups


def markdown_page(scored: Scored, data: dict[str, Any], cases: dict[str, list[Case]]) -> str:
    """Return the Markdown text. Text from files is escaped so that it cannot become markup."""
    bootstrap = data["bootstrap"]
    lines = [
        "# Segmentation scores",
        "",
        *(f"{plain(line)}\n" for line in [told(data["run"])] if line),
        f"Protocol **{data['protocol']}** ({plain(scored.protocol.source)}), {data['n']:,} items, "
        f"{data['n_no_target']:,} without target, {data['n_missing']:,} without prediction. Percent; 95 % intervals "
        f"from {bootstrap['resamples']} resamples over {bootstrap['over']}, seed {bootstrap['seed']}.",
        "",
        *(f"> {plain(note)}\n" for note in data["notes"]),
        *_table(
            ("score", "%", "95 % interval"),
            [(name, percent(data[name]), interval(bounds)) for name, bounds in data["intervals"].items()],
        ),
    ]
    if "matched" in data:
        part = data["matched"]
        lines += [
            f"Single masks matched one to one ({part['n_masks']:,}): gIoU {percent(part['gIoU'])}, "
            f"cIoU {percent(part['cIoU'])}.",
            "",
        ]
    if "AP" in data:
        lines += [
            f"By each mask's score: AP@[.5:.95] {percent(data['AP'])}, AP50 {percent(data['AP50'])}.",
            "",
        ]
    for key, values in telling_groups(data).items():
        lines += [f"## By {plain(key)}", ""]
        lines += _table(
            (plain(key), "n", "gIoU", "95 %", "cIoU", "N_acc", "T_acc"),
            [
                (
                    plain(value), f"{part['n']:,}",
                    percent(part["gIoU"]), interval(part["intervals"].get("gIoU")),
                    *(percent(part[name]) for name in ("cIoU", "N_acc", "T_acc")),
                )
                for value, part in values.items()
            ],
        )  # fmt: skip
    for kind, part in cases.items():
        if part:
            lines += [
                f"## {kind.capitalize()}",
                "",
                "Green: in answer and truth; orange: in the answer alone; blue: in the truth alone; grey: ignored.",
                "",
            ]
            lines += _table(
                ("picture", "prompt", "IoU", "note"),
                [
                    (
                        f"![]({case.file})",
                        plain(case.prompt or case.id),
                        f"{100 * case.iou:.1f}",
                        plain(case.note),
                    )
                    for case in part
                ],
            )
    lines += ["## Provenance", ""]
    lines += [f"- {plain(name)}: {plain(value)}" for name, value in data["run"].items()]
    lines += [f"- SHA-256 of {plain(name)}: `{value}`" for name, value in data["hashes"].items()]
    lines += ["- " + ", ".join(f"{name} {version}" for name, version in data["versions"].items()), ""]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Escape what Markdown, or HTML inside it, would read as markup."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", text)


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    rule = "|".join([":--", *["--:"] * (len(heading) - 1)])
    return [
        f"| {' | '.join(heading)} |",
        f"|{rule}|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
