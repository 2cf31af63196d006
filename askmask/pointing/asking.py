"""What a model that points is asked: instructions, the form of its reply, and the conversation so far.

Earlier rounds go as turns of a chat, their regions as named boxes and as numbered outlines on a second picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from askmask.conversation import Prompt, Round, Segment
from askmask.imaging.mask import Mask
from askmask.imaging.overlay import fit
from askmask.pointing.conventions import Convention
from askmask.pointing.sent import Sent
from askmask.vlm.marked import mark_numbered
from askmask.vlm.pictures import SentPicture
from askmask.vlm.request import Request, Turn
from askmask.vlm.templates import fill, hash_of, text_of

MOST_TOKENS = 2048  # of a reply
MOST_ROUNDS = 12  # of the conversation that are sent
TEXT = {"type": "string"}


def asking(prompt: Prompt, rounds: Sequence[Round], seen: Sent, convention: Convention) -> Request:
    """Return the request that asks where what a prompt means is, after `rounds`."""
    named = {s.id: s for r in rounds for s in r.segments or ()}
    pictures, template = [seen.picture], template_of("point", convention, seen.size)
    inputs: dict[str, Any] = {"asked": prompt.text}
    if named:
        outlined = numbered(seen, [s.mask for s in named.values()], "the same with earlier regions")
        pictures.append(outlined)
        inputs["earlier_regions"] = [
            {"number": n, "name": s.id, **_written(s, seen, convention)}
            for n, s in enumerate(named.values(), 1)
        ]
        template += "\n\n" + text_of("askmask.pointing", "earlier")
    if prompt.refers_to:
        of = {r.id: [s.id for s in r.segments or ()] for r in rounds}
        inputs["about"] = [name for one in prompt.refers_to for name in of.get(one, [one])]
    marked = [*prompt.boxes, *(mask.box for mask in prompt.masks if mask.box)]
    if marked:
        inputs["marked_boxes"] = [box_as_written(box, seen, convention) for box in marked]
    if prompt.points:
        inputs["marked_points"] = [
            {"point": _place(x, y, seen, convention), "part_of_it": inside} for x, y, inside in prompt.points
        ]
    return Request(
        stage="point",
        template_hash=hash_of(template),
        instructions=template,
        pictures=tuple(pictures),
        inputs=inputs,
        history=tuple(turn for r in rounds[-MOST_ROUNDS:] for turn in _turns(r, seen, convention)),
        schema_name="PointingReply",
        schema=_schema(convention, earlier=bool(named)),
        max_tokens=MOST_TOKENS,
    )


def numbered(seen: Sent, masks: Sequence[Mask], name: str) -> SentPicture:
    """Return the picture as sent with masks outlined and numbered from 1."""
    shown = {n: _as_sent(mask, seen) for n, mask in enumerate(masks, 1)}
    return SentPicture(mark_numbered(seen.picture.rgb, shown), name)


def template_of(name: str, convention: Convention, size: tuple[int, int]) -> str:
    """Return the instructions `templates/NAME.md` for a convention and a picture of that (height, width)."""
    return fill(
        "askmask.pointing",
        name,
        box_key=convention.box_key,
        points_key=convention.points_key,
        box="[y0, x0, y1, x1]" if convention.y_first else "[x0, y0, x1, y1]",
        point="[y, x]" if convention.y_first else "[x, y]",
        words=convention.in_words(size),
    )


def box_as_written(box: Sequence[float], seen: Sent, convention: Convention) -> list[float]:
    """Return a box of the picture in the four numbers that the model would write."""
    first, last = _place(box[0], box[1], seen, convention), _place(box[2], box[3], seen, convention)
    return [*first, *last]


def place_schema(convention: Convention) -> dict[str, Any]:
    """Return the fields of a JSON schema that hold a box and points."""
    numbers = {"type": "array", "items": {"type": "number"}}
    return {convention.box_key: numbers, convention.points_key: {"type": "array", "items": numbers}}


def object_schema(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema in which every field is required, as strict servers want it."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _schema(convention: Convention, *, earlier: bool) -> dict[str, Any]:
    one = object_schema(place_schema(convention) | {"label": TEXT})
    fields: dict[str, Any] = {"instances": {"type": "array", "items": one}}
    if earlier:
        fields["earlier"] = {"type": "array", "items": TEXT}
    return object_schema(fields | {"nothing_because": TEXT, "reply": TEXT})


def _turns(round: Round, seen: Sent, convention: Convention) -> tuple[Turn, Turn]:
    said: dict[str, Any] = {
        "instances": [_written(s, seen, convention) for s in round.segments or ()],
        "nothing_because": (round.reply or "") if round.segments == () else "",
        "reply": (round.reply or "") if round.segments != () else "",
    }
    asked = {"asked": round.text or "(marked on the picture)"}
    return (
        Turn("user", (json.dumps(asked, ensure_ascii=False),)),
        Turn("assistant", (json.dumps(said, ensure_ascii=False),)),
    )


def _written(segment: Segment, seen: Sent, convention: Convention) -> dict[str, Any]:
    box = segment.mask.box
    written = {} if box is None else {convention.box_key: box_as_written(box, seen, convention)}
    return written | {"label": segment.name or segment.phrase or segment.id}


def _place(x: float, y: float, seen: Sent, convention: Convention) -> list[float]:
    return list(convention.written(x * seen.scale[0], y * seen.scale[1], seen.size))


def _as_sent(mask: Mask, sent: Sent) -> Mask:
    """Return a mask of the picture as one of the picture sent, padding included."""
    height, width = (
        min(side, max(1, math.floor(of * scale + 0.5)))
        for side, of, scale in zip(sent.size, sent.original, reversed(sent.scale), strict=True)
    )
    whole = np.zeros(sent.size, bool)
    whole[:height, :width] = fit(mask, (height, width))
    return Mask.from_array(whole)
