"""Choose telling items and draw each with its right, surplus and missed pixels."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from askmask.errors import PictureError
from askmask.evaluation.predictions import Prediction
from askmask.evaluation.scoring import Scored
from askmask.evaluation.truth import Truth
from askmask.imaging.files import read_picture
from askmask.imaging.overlay import blend, to_image

PER_KIND = 8
WIDTH = 420  # pixels of a drawn case
# Apart for all common kinds of colour vision; alpha keeps the picture readable below.
RIGHT, SURPLUS, MISSED, IGNORED = (38, 166, 91), (230, 81, 0), (41, 98, 255), (120, 120, 120)


@dataclass
class Case:
    """One item as shown: its drawing and what to write below."""

    id: str
    iou: float
    prompt: str
    reply: str | None
    score: float | None
    note: str
    jpeg: bytes
    file: str = ""


def choose(scored: Scored, per_kind: int = PER_KIND) -> dict[str, list[str]]:
    """Return ids of the worst, the best and the most uncertain items (confidence nearest one half)."""
    rows = scored.meter.rows
    iou = scored.ious(rows)
    # Among equals the larger error tells more; rightly found nothing is no picture to look at, so it comes last.
    worst = sorted(range(len(rows)), key=lambda i: (iou[i], rows[i].intersection - rows[i].union))
    best = sorted(range(len(rows)), key=lambda i: (rows[i].no_target, -iou[i], -rows[i].true))
    unsure = sorted(
        (i for i, row in enumerate(rows) if row.score is not None),
        key=lambda i: abs((rows[i].score or 0) - 0.5),
    )
    return {
        kind: [rows[i].id for i in order[:per_kind]]
        for kind, order in (("worst", worst), ("most uncertain", unsure), ("best", best))
    }


def draw_cases(
    chosen: dict[str, list[str]], scored: Scored, truths: Iterable[Truth]
) -> dict[str, list[Case]]:
    """Draw the chosen items, reading the ground truth once more."""
    wanted = {name for names in chosen.values() for name in names}
    rows = scored.meter.rows
    iou = dict(zip((row.id for row in rows), scored.ious(rows), strict=True))
    drawn: dict[str, Case] = {}
    for truth in truths:
        if truth.id in wanted:
            answer = scored.predictions.get(truth.id, truth.size) if scored.predictions else None
            drawn[truth.id] = _case(truth, answer, float(iou[truth.id]))
            if len(drawn) == len(wanted):
                break
    return {kind: [drawn[name] for name in names if name in drawn] for kind, names in chosen.items()}


def _case(truth: Truth, answer: Prediction | None, iou: float) -> Case:
    prediction = answer or Prediction(truth.id)
    notes = []
    if answer is None:
        notes.append("no prediction")
    elif answer.no_target:
        notes.append("answer: nothing matches")
    if truth.no_target:
        notes.append("truth: nothing matches")
    return Case(
        id=truth.id,
        iou=iou,
        prompt=truth.prompt or "",
        reply=prediction.text,
        score=prediction.score,
        note=", ".join(notes),
        jpeg=draw(truth, prediction),
    )


def draw(truth: Truth, answer: Prediction | None) -> bytes:
    """Draw one item's right, surplus, missed and ignored pixels as a JPEG; no answer is an empty one."""
    answer = answer or Prediction(truth.id)
    height, width = truth.size
    scale = WIDTH / width
    shape = (WIDTH, max(1, min(round(height * scale), 4 * WIDTH)))
    picture = _picture(truth).resize(shape, Image.Resampling.BILINEAR)
    canvas: np.ndarray = np.asarray(picture).astype(np.float32)
    predicted, true = answer.mask(truth.size), truth.mask
    layers = [(predicted & true, RIGHT), (predicted - true, SURPLUS), (true - predicted, MISSED)]
    if truth.ignore is not None:
        layers.append((truth.ignore, IGNORED))
    for mask, colour in layers:
        if mask:
            soft = Image.fromarray(mask.to_array().astype(np.uint8) * 255).resize(shape, Image.Resampling.BOX)
            blend(canvas, np.asarray(soft).astype(np.float32) / 255, colour, 0.62)
    buffer = io.BytesIO()
    to_image(canvas).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def _picture(truth: Truth) -> Image.Image:
    """Return the picture, darkened to grey so that colours mean scores; plain grey where there is none."""
    if truth.image:
        try:
            picture = read_picture(truth.image)
            if picture.size == truth.size:
                return (
                    Image.fromarray(picture.rgb)
                    .convert("L")
                    .point(lambda v: int(30 + v * 0.82))
                    .convert("RGB")
                )
        except PictureError:
            pass  # the report says so by the plain ground
    return Image.new("RGB", (8, 8), (214, 214, 210))
