"""The dialogues of a run as one HTML page: words, masks and scores of each turn, the best and the worst."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np

from askmask.conversation import Example
from askmask.errors import MissingExtra
from askmask.evaluation.protocols import TERMS
from askmask.evaluation.report.cases import draw
from askmask.evaluation.report.page import STYLE, percent, told
from askmask.evaluation.scoring import Scored
from askmask.evaluation.text_scores import Reference, text_scores, words_of
from askmask.evaluation.truth import item_id, truths_of

PER_KIND = 6
MOST_TURNS = 20  # drawn of a dialogue
_TERMS = ("iou", "P", "R", "F1")
_MORE = """
.talk { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px; margin: 14px 0; }
.turn { display: grid; grid-template-columns: minmax(0, 1fr) 260px; gap: 16px; padding: 10px 0;
  border-top: 1px solid var(--line); } .turn img { width: 100%; border-radius: 8px; display: block; }
.who { color: var(--soft); font-size: 13px; font-weight: 600; } .turn p { overflow-wrap: anywhere; margin: 2px 0 6px; }
@media (max-width: 700px) { .turn { grid-template-columns: 1fr; } }
"""


def dialogues_page(
    scored: Scored, data: Mapping[str, Any], examples: Iterable[Example], texts: Mapping[str, str]
) -> str | None:
    """Return the page's markup, None if no dialogue was scored. All that came from files is escaped."""
    rows = scored.meter.rows
    terms = dict(zip((row.id for row in rows), scored.terms(rows), strict=True))
    talks = {}
    for example in examples:
        scores = [terms[name] for k in range(len(example.rounds)) if (name := item_id(example, k)) in terms]
        if scores and len(example.rounds) > 1 and not example.independent:
            talks[example.id] = (example, float(np.mean([row[TERMS.index("iou")] for row in scores])))
    if not talks:
        return None
    order = sorted(talks.values(), key=lambda talk: (talk[1], talk[0].id))
    best = [talk for talk in reversed(order[len(order) // 2 :])][:PER_KIND]
    parts = []
    for kind, chosen in (("Best", best), ("Worst", order[: len(order) - len(order) // 2][:PER_KIND])):
        shown = [_talk(example, mean, scored, terms, texts) for example, mean in chosen]
        parts.append(f"<h2>{kind}</h2>" + "".join(shown))
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>Dialogues</title><style>{STYLE}{_MORE}</style></head><body><main><h1>Dialogues</h1>"
    )
    said = f'<p><b>{escape(told(data["run"]))}</b></p><p class="soft">{len(talks):,} dialogues, protocol '
    said += f"{escape(data['protocol'])}; by the mean IoU of their turns with a true mask. Green: in answer and truth, "
    return (
        head
        + said
        + "orange: in the answer alone, blue: in the truth alone.</p>"
        + "".join(parts)
        + "</main></html>\n"
    )


def _talk(
    example: Example, mean: float, scored: Scored, terms: Mapping[str, np.ndarray], texts: Mapping[str, str]
) -> str:
    truths = {truth.id: truth for truth in truths_of([example])}
    turns = []
    for k, round in enumerate(example.rounds[:MOST_TURNS]):
        name = item_id(example, k)
        figure, scores = "", ""
        if name in terms:
            truth = truths[name]
            answer = scored.predictions.get(name, truth.size) if scored.predictions else None
            picture = base64.b64encode(draw(truth, answer)).decode("ascii")
            figure = f'<img src="data:image/jpeg;base64,{picture}" alt="right, surplus and missed pixels">'
            values = (f"{t if t != 'iou' else 'IoU'} {percent(terms[name][TERMS.index(t)])}" for t in _TERMS)
            nothing = [] if not truth.no_target else ["truth: nothing matches"]
            if answer is None or not answer.masks:
                nothing.append("no mask in the answer")
            scores = f'<p class="soft">{", ".join([*values, *nothing])}</p>'
        reply = texts.get(name)
        true = f'<p class="soft">True reply: {escape(round.reply[:600])}</p>' if round.reply else ""
        said = escape(reply[:600]) if reply else '<span class="soft">(no words)</span>'
        turns.append(
            f'<div class="turn"><div><div class="who">Person</div><p>{escape(round.text[:600])}</p>'
            f'<div class="who">Model</div><p>{said}</p>{true}{scores}</div><div>{figure}</div></div>'
        )
    words = _words(example, texts)
    return (
        f'<section class="talk"><b>mean IoU {percent(mean)}</b>{words} <span class="id">{escape(example.id)}</span>'
        f"{''.join(turns)}</section>"
    )


def _words(example: Example, texts: Mapping[str, str]) -> str:
    wanted = [
        Reference(item_id(example, k), words)
        for k, round in enumerate(example.rounds)
        if (words := words_of(round)) is not None
    ]
    try:
        found = text_scores(texts, wanted) if wanted else {}
    except MissingExtra:  # the page of scores says so
        found = {}
    return "".join(f", {name} {percent(found[name])}" for name in ("ROUGE-L", "METEOR") if name in found)
