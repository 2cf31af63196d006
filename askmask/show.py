"""Answers and conversations as people see them: overlays, notebooks, Matplotlib; and as supervision's Detections.

What is no score is shown nowhere as one: a number that no training stands behind, or one of what was not found.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from askmask.conversation import without_masks
from askmask.errors import AskMaskError, MissingExtra
from askmask.imaging.overlay import Layer, draw

if TYPE_CHECKING:
    from askmask.answer import Answer
    from askmask.conversation import Segment
    from askmask.session import Session

NOTEBOOK_SIDE = 640  # px, of the picture in a notebook: outputs are stored with it


def draw_answers(answers: Sequence[Answer], *, most: int | None = None) -> Image.Image:
    """Draw several answers to one picture in different colours, with one legend line each.

    `most`: the picture's longer side in pixels, for smaller drawings. Raises AskMaskError without a picture.
    """
    picture = next((answer.picture for answer in answers if answer.picture is not None), None)
    if picture is None:
        raise AskMaskError("this answer has no picture with it", do="Draw with askmask.imaging.overlay.draw.")
    return draw(_at_most(picture.rgb, most), [Layer(a.masks, a.prompt, legend_note(a)) for a in answers])


def draw_session(session: Session, *, most: int | None = None) -> Image.Image:
    """Draw a conversation: each round in a colour, its masks by name in the legend."""
    layers = []
    for round in session.rounds:
        names = ", ".join(_name(segment) for segment in round.segments or ())
        asked = round.text or ("marked" if round.prompt.marks else "")
        layers.append(
            Layer(
                round.masks or (), f"{round.id}  {asked}", names or without_masks(round.segments, round.reply)
            )
        )
    return draw(_at_most(session.picture.rgb, most), layers)


def legend_note(answer: Answer) -> str:
    """Say the outcome in a few words."""
    if answer.asks or not answer.found:
        return without_masks(answer.round.segments, answer.round.reply)
    many = f"{len(answer.masks)} masks" if len(answer.masks) > 1 else ""
    return ", ".join(
        part
        for part in (
            f"score {answer.score:.2f}" if answer.score_trained and answer.score is not None else "",
            many,
        )
        if part
    )


def outcome_of(answer: Answer) -> str:
    """Say the outcome, and why nothing was found where a probability decided it."""
    if answer.found or answer.asks or not answer.presence_trained or answer.threshold is None:
        return legend_note(answer)
    if answer.presence >= answer.threshold:
        return f"nothing found: presence {answer.presence:.3f}, but an empty mask"
    digits = 2 if round(answer.presence, 2) < round(answer.threshold, 2) else 4
    return f"nothing found: presence {answer.presence:.{digits}f} < {answer.threshold:.{digits}f}"


def answer_html(answer: Answer) -> str:
    """Return an answer as HTML for a notebook: the overlay, a line for each mask, what the user should know."""
    rows = [
        (_name(segment), _share(segment, answer.size), _score(segment, answer.score_trained))
        for segment in answer.segments
    ]
    said = [html.escape(f"{answer.prompt or 'marked'}: {outcome_of(answer) or 'found'}")]
    said += [f"<i>{html.escape(answer.text)}</i>"] if answer.text else []
    said += [f"<small>Note: {html.escape(notice)}</small>" for notice in answer.notices]
    picture = None if answer.picture is None else draw_answers([answer], most=NOTEBOOK_SIDE)
    return _page(picture, said, ("mask", "of the picture", "score"), rows)


def session_html(session: Session) -> str:
    """Return a conversation as HTML for a notebook."""
    rows = []
    for round in session.rounds:
        trained = session.model.score_trained and not round.prompt.marks
        asked = f"{round.id}: {round.text or 'marked'}" + (" (stale)" if round.id in session.stale else "")
        for segment in round.segments or (None,):
            if segment is None:
                rows.append((asked, without_masks(round.segments, round.reply), "", ""))
            else:
                rows.append(
                    (asked, _name(segment), _share(segment, session.picture.size), _score(segment, trained))
                )
    heads = ("round", "mask", "of the picture", "score")
    return _page(draw_session(session, most=NOTEBOOK_SIDE), [html.escape(repr(session))], heads, rows)


def png_of(image: Image.Image) -> bytes:
    """Return a drawing as PNG of 256 colours, small enough to be kept in a notebook."""
    buffer = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


def plot(image: Image.Image, axes: Any = None) -> Any:
    """Show a drawing on Matplotlib axes, new ones if none are given, and return them. Raises MissingExtra."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtra("matplotlib", "notebook") from error
    if axes is None:
        _, axes = pyplot.subplots(figsize=(image.width / 100, image.height / 100), layout="tight")
    axes.imshow(np.asarray(image))
    axes.set_axis_off()
    return axes


def to_supervision(answer: Answer) -> Any:
    """Return supervision's Detections of an answer: boxes, masks, confidences where they are scores, prompt and names.

    Raises MissingExtra.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtra("supervision", "supervision") from error
    segments = [segment for segment in answer.segments if segment.mask]
    if not segments:
        return supervision.Detections.empty()
    trained = answer.score_trained and all(segment.score is not None for segment in segments)
    return supervision.Detections(
        xyxy=np.array([segment.mask.box for segment in segments], np.float32),
        mask=np.stack([segment.mask.to_array() for segment in segments]),
        confidence=np.array([segment.score for segment in segments], np.float32) if trained else None,
        class_id=np.zeros(len(segments), int),
        data={
            "class_name": np.array([answer.prompt] * len(segments)),
            "segment": np.array([segment.id for segment in segments]),
            "name": np.array([segment.name or "" for segment in segments]),
        },
    )


def _at_most(rgb: np.ndarray, most: int | None) -> np.ndarray:
    if most is None or max(rgb.shape[:2]) <= most:
        return rgb
    image = Image.fromarray(rgb)
    image.thumbnail((most, most), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _name(segment: Segment) -> str:
    return f"{segment.id} {segment.name}" if segment.name else segment.id


def _share(segment: Segment, size: tuple[int, int]) -> str:
    return f"{100 * segment.mask.area / (size[0] * size[1]):.1f} %"


def _score(segment: Segment, trained: bool) -> str:
    return f"{segment.score:.2f}" if trained and segment.score is not None else ""


def _page(
    picture: Image.Image | None, said: list[str], heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    shown = ""
    if picture is not None:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=88)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        shown = f'<img alt="overlay" style="max-width:100%" src="data:image/webp;base64,{data}">'
    used = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    table = ""
    if used:
        head = "".join(f"<th>{heads[n]}</th>" for n in used)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(row[n])}</td>" for n in used) + "</tr>" for row in rows
        )
        table = f"<table><tr>{head}</tr>{body}</table>"
    return f"<div>{shown}{''.join(f'<div>{line}</div>' for line in said)}{table}</div>"
