"""The report as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from askmask.evaluation.report.cases import Case
from askmask.evaluation.report.charts import bars, histogram, reliability
from askmask.evaluation.scoring import Scored, telling_groups

STYLE = """
:root { --ink: #1b1f24; --soft: #5d6670; --line: #dfe3e7; --page: #f6f7f8; --card: #fff; --accent: #1769aa;
  --bar: #7fb2d9; --note: #fff6dd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #9aa4ae; --line: #333a42; --page: #14171b;
  --card: #1d2127; --accent: #7cc0ff; --bar: #376d99; --note: #37301a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 40px 0 12px; }
p { margin: 6px 0; } .soft { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; margin-top: 22px; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 30px; font-weight: 650; font-variant-numeric: tabular-nums; line-height: 1.2; }
.tile small, .tile span { color: var(--soft); font-size: 13px; } .tile span { font-weight: 600; }
.two { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 1fr); gap: 16px; }
.even { display: grid; gap: 16px; }
.even table { font-size: 14px; } .even th, .even td { padding: 5px 6px; }
@media (max-width: 900px) { .two { grid-template-columns: minmax(0, 1fr); } }
.card h3 { margin: 0 0 8px; font-size: 14px; color: var(--soft); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; } th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; }
.note { background: var(--note); border-radius: 8px; padding: 8px 14px; margin: 10px 0; }
svg { width: 100%; height: auto; display: block; }
.bar { fill: var(--bar); } .dot { fill: var(--accent); fill-opacity: .75; }
.grid { stroke: var(--line); fill: none; } .whisker { stroke: var(--ink); stroke-width: 1.5; fill: none; }
.overall { stroke: var(--accent); stroke-dasharray: 4 3; stroke-width: 1.5; }
svg text { fill: var(--ink); font-size: 13px; } svg .tick { fill: var(--soft); font-size: 12px; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 14px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
figure img { width: 100%; display: block; } figcaption { padding: 9px 12px 11px; font-size: 14px; }
figcaption b { font-variant-numeric: tabular-nums; } figcaption q { font-style: italic; overflow-wrap: anywhere; }
.id { font: 12px ui-monospace, monospace; color: var(--soft); overflow-wrap: anywhere; }
.key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin: 0 5px 0 14px; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; } dt { color: var(--soft); }
dd { margin: 0; }
"""

HEADLINE = {
    "gIoU": "mean IoU over items",
    "cIoU": "pooled pixels: ΣI / ΣU",
    "N_acc": "“nothing matches”, rightly said",
    "T_acc": "targets not denied",
}


def html_page(scored: Scored, data: dict[str, Any], cases: dict[str, list[Case]]) -> str:
    """Return the page's markup. Everything that came from files is escaped."""
    rows = scored.meter.rows
    iou = scored.ious(rows)
    sections = [_tiles(data), *(f'<p class="note">{escape(note)}</p>' for note in data["notes"])]
    charts = f'<div class="card"><h3>Items by IoU</h3>{histogram(iou.tolist())}</div>'
    pairs = [(row.score, value) for row, value in zip(rows, iou, strict=True) if row.score is not None]
    if pairs:
        charts += (
            f'<div class="card"><h3>IoU by confidence</h3>{reliability(*zip(*pairs, strict=True))}</div>'
        )
    sections.append(f'<h2>Distribution</h2><div class="{"two" if pairs else ""}">{charts}</div>')
    for key, values in telling_groups(data).items():
        sections.append(f"<h2>By {escape(key)}</h2>" + _group(values, data["gIoU"]))
    for kind, part in cases.items():
        if part:
            sections.append(f"<h2>{kind.capitalize()}</h2>{_legend()}" + _cases(part))
    sections.append("<h2>All scores</h2>" + _all_scores(data))
    sections.append("<h2>Provenance</h2>" + _provenance(scored, data))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{percent(data['gIoU'])} gIoU, protocol {escape(data['protocol'])}</title>"
        f"<style>{STYLE}</style></head><body><main><h1>Segmentation scores</h1>"
        f"<p><b>{escape(told(data['run']))}</b></p>"
        f'<p class="soft">Protocol <b>{escape(data["protocol"])}</b> ({escape(scored.protocol.source)}), '
        f"{data['n']:,} items, {data['n_no_target']:,} of them without target, {data['n_missing']:,} without "
        f"prediction. Percent, with 95 % bootstrap intervals over {escape(data['bootstrap']['over'])}.</p>"
        + "".join(sections)
        + "</main></body></html>\n"
    )


def told(run: dict[str, str]) -> str:
    """Say in one line what was scored: model, data set, date."""
    model = run.get("model") or run.get("predictions", "")
    return ", ".join(part for part in (model, run.get("data set", ""), run.get("date", "")) if part)


def percent(value: float | None) -> str:
    """Write a score in percent, a dash where it is undefined."""
    return "–" if value is None else f"{100 * value:.2f}"


def interval(value: list[float] | None) -> str:
    """Write an interval in percent."""
    return "" if value is None else f"{100 * value[0]:.1f} – {100 * value[1]:.1f}"


def _tiles(data: dict[str, Any]) -> str:
    tiles = "".join(
        f'<div class="tile"><span>{name}</span><b>{percent(data[name])}</b>'
        f"<small>{interval(data['intervals'].get(name)) or '&nbsp;'}<br>{words}</small></div>"
        for name, words in HEADLINE.items()
    )
    return f'<div class="tiles">{tiles}</div>'


def _group(values: dict[str, Any], overall: float | None) -> str:
    names = ("gIoU", "cIoU", "N_acc", "T_acc", "Pr@0.5")
    head = "".join(f"<th>{name}</th>" for name in ("", "n", "gIoU", "95 %", *names[1:]))
    body = "".join(
        f"<tr><td>{escape(value)}</td><td>{part['n']:,}</td><td>{percent(part['gIoU'])}</td>"
        f"<td>{interval(part['intervals'].get('gIoU'))}</td>"
        + "".join(f"<td>{percent(part[name])}</td>" for name in names[1:])
        + "</tr>"
        for value, part in values.items()
    )
    return (
        f'<div class="even"><div class="card"><h3>gIoU, %; dashed: all items</h3>{bars(values, overall=overall)}'
        f'</div><div class="card scroll"><table><tr>{head}</tr>{body}</table></div></div>'
    )


def _all_scores(data: dict[str, Any]) -> str:
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{percent(data[name])}</td><td>{interval(bounds)}</td></tr>"
        for name, bounds in data["intervals"].items()
    )
    for name in ("gIoU", "cIoU"):
        if "matched" in data:
            value = percent(data["matched"][name])
            body += f"<tr><td>{name}, single masks matched</td><td>{value}</td><td></td></tr>"
    for name, words in (("AP", "AP@[.5:.95], by each mask's score"), ("AP50", "AP50")):
        if name in data:
            body += f"<tr><td>{words}</td><td>{percent(data[name])}</td><td></td></tr>"
    if "answered_only" in data:
        part = data["answered_only"]
        body += f"<tr><td>gIoU, answered only (n {part['n']:,})</td><td>{percent(part['gIoU'])}</td><td></td></tr>"
    return (
        '<div class="card scroll"><table><tr><th>score</th><th>%</th><th>95 % interval</th></tr>'
        f"{body}</table></div>"
    )


def _legend() -> str:
    return (
        '<p class="soft key">Pixels <i style="background:#26a65b;margin-left:2px"></i>in answer and truth '
        '<i style="background:#e65100"></i>in the answer alone '
        '<i style="background:#2962ff"></i>in the truth alone '
        '<i style="background:#787878"></i>ignored</p>'
    )


def _cases(cases: list[Case]) -> str:
    figures = []
    for case in cases:
        picture = base64.b64encode(case.jpeg).decode("ascii")
        words = f"<q>{escape(case.prompt)}</q><br>" if case.prompt else ""
        if case.reply:
            words += f'<span class="soft">{escape(case.reply[:300])}</span><br>'
        confidence = "" if case.score is None else f", confidence {case.score:.2f}"
        note = f"<br>{escape(case.note)}" if case.note else ""
        figures.append(
            f'<figure><img src="data:image/jpeg;base64,{picture}" alt="right, surplus and missed pixels of '
            f'{escape(case.id)}"><figcaption>{words}<b>IoU {100 * case.iou:.1f}</b>{confidence}{note}'
            f'<div class="id">{escape(case.id)}</div></figcaption></figure>'
        )
    return f'<div class="cases">{"".join(figures)}</div>'


def _provenance(scored: Scored, data: dict[str, Any]) -> str:
    bootstrap = data["bootstrap"]
    entries = {
        **data["run"],
        "protocol": f"{data['protocol']} ({scored.protocol.source})",
        "bootstrap": f"{bootstrap['resamples']} resamples over {bootstrap['over']}, seed {bootstrap['seed']}",
        "no-target threshold": f"{scored.min_pixels} px",
        **{f"SHA-256 of {name}": value for name, value in data["hashes"].items()},
        "versions": ", ".join(f"{name} {version}" for name, version in data["versions"].items()),
    }
    body = "".join(
        f"<dt>{escape(name)}</dt><dd><code>{escape(str(value))}</code></dd>"
        for name, value in entries.items()
    )
    return f'<div class="card"><dl>{body}</dl></div>'
