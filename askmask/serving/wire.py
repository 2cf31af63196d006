"""Requests as pydantic schemas, and answers and sessions as JSON: the one shape of all native calls."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from askmask.answer import Answer
from askmask.conversation import Prompt, Segment
from askmask.errors import PictureError
from askmask.serving.journal import Moment, Standing
from askmask.serving.masks import Form, mask_from_wire, mask_to_wire

MOST_MARKS = 100
MOST_TEXT = 10_000
Text = Annotated[str, Field(max_length=MOST_TEXT)]
Name = Annotated[str, Field(max_length=200)]
Id = Annotated[str, Field(max_length=64)]
Point = Annotated[list[float], Field(min_length=2, max_length=3)]
Box = Annotated[list[float], Field(min_length=4, max_length=4)]
MaskIn = Annotated[
    dict[str, Any],
    Field(
        description='{"rle": {"size": [H, W], "counts": ...}}, {"png": base64} or {"polygons": [[outer, hole]]}',
        examples=[{"rle": {"size": [2, 2], "counts": [1, 2, 1]}}],
    ),
]


class Body(BaseModel):
    """A request: what it does not know is refused, so that a slip of the pen is no silent default."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PictureIn(Body):
    """A picture: its file as base64 or as a data URL, or an address (only where the server was told to fetch)."""

    data: str | None = Field(default=None, description="the file in base64, or a data: URL")
    url: Annotated[str, Field(max_length=2000)] | None = Field(default=None, description="needs --allow-urls")
    name: Name | None = None


class PromptIn(Body):
    """What is asked: words, marks on the picture, and which earlier rounds or segments are meant."""

    text: Text = ""
    about: Annotated[list[Id], Field(max_length=MOST_MARKS)] = Field(
        default=[], description="ids of rounds or segments, or names of segments"
    )
    points: Annotated[list[Point], Field(max_length=MOST_MARKS)] = Field(
        default=[], description="(x, y) or (x, y, inside) in pixels; together they mean one thing"
    )
    boxes: Annotated[list[Box], Field(max_length=MOST_MARKS)] = Field(
        default=[], description="(x0, y0, x1, y1) in pixels; each means one thing"
    )
    mask: MaskIn | None = Field(default=None, description="a drawn mask to begin from")

    def arguments(self, size: tuple[int, int]) -> dict[str, Any]:
        """Return what `Session.ask` takes."""
        mask = None if self.mask is None else mask_from_wire(self.mask, size)
        return {
            "prompt": self.text,
            "about": self.about,
            "points": self.points,
            "boxes": self.boxes,
            "mask": mask,
        }

    def prompt(self, size: tuple[int, int]) -> Prompt:
        """Return a Prompt with everything in it."""
        masks = () if self.mask is None else (mask_from_wire(self.mask, size),)
        return Prompt(
            text=self.text,
            refers_to=tuple(self.about),
            points=tuple((p[0], p[1], bool(p[2]) if len(p) > 2 else True) for p in self.points),
            boxes=tuple((b[0], b[1], b[2], b[3]) for b in self.boxes),
            masks=masks,
        )


class SegmentCall(Body):
    """One picture and prompts that know nothing of each other."""

    picture: PictureIn
    prompts: Annotated[list[Text | PromptIn], Field(min_length=1)]
    model: Name | None = None
    masks: Form = "rle"


class OpenCall(Body):
    """A new session over a picture; with `saved`, going on with a conversation that was saved."""

    picture: PictureIn
    model: Name | None = None
    saved: dict[str, Any] | None = Field(
        default=None, description="what GET .../saved gave, or Session.to_dict() wrote"
    )


class EditCall(PromptIn):
    """A round's new prompt; `refresh`: ask those that refer to it anew as well."""

    refresh: bool = False


class AddCall(Body):
    """A mask of the user's own, or one mended: `add` to or `cut` from a segment what is marked or drawn."""

    mask: MaskIn | None = None
    points: Annotated[list[Point], Field(max_length=MOST_MARKS)] = []
    boxes: Annotated[list[Box], Field(max_length=1)] = []
    of: Id | None = Field(default=None, description="the segment that is mended")
    how: Annotated[str, Field(pattern="^(new|add|cut)$")] = "new"
    name: Name | None = None


class RenameCall(Body):
    """A segment's name; null takes it away."""

    name: Name | None


class ForkCall(Body):
    """A second session: of another model if named, after the first `rounds` if given, and asked anew if wished."""

    model: Name | None = None
    rounds: Annotated[int, Field(ge=0)] | None = None
    ask_anew: bool = False


def picture_bytes(picture: PictureIn, most: int) -> bytes:
    """Decode a picture that came with the request. Raises PictureError."""
    text = picture.data or ""
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise PictureError(
                "a data URL must be base64", got=repr(head[:40]), do="data:image/png;base64,..."
            )
    try:
        data = base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError("the picture is not base64", got=repr(text[:24])) from error
    if not data or len(data) > most:
        raise PictureError("the picture is empty or too large", got=f"{len(data)} bytes")
    return data


# -- out ------------------------------------------------------------------------------------------------------


def segment_to_wire(segment: Segment, form: Form) -> dict[str, Any]:
    """Return a segment with its mask in a form, its box and its area; without an id until its round is taken in."""
    gone = ("size", "counts") if segment.id else ("size", "counts", "id")
    data = {name: value for name, value in segment.to_dict().items() if name not in gone}
    return (
        data
        | {"box": segment.mask.box, "area": segment.mask.area}
        | {"mask": mask_to_wire(segment.mask, form)}
    )


def facts_of(answer: Answer) -> dict[str, Any]:
    """Return all of an answer that its round does not hold: how sure, what to know, how long."""
    gone = ("round", "prompt", "masks", "text", "size", "alternatives")
    return {name: value for name, value in answer.to_dict().items() if name not in gone}


def answer_to_wire(answer: Answer, form: Form) -> dict[str, Any]:
    """Return an answer to a prompt that stands alone."""
    return {
        "prompt": answer.round.prompt.to_json(),
        "reply": answer.text or None,
        "segments": None
        if answer.round.segments is None  # in words alone, such as a question back
        else [segment_to_wire(segment, form) for segment in answer.segments],
        "answer": facts_of(answer),
    }


def round_to_wire(
    round: Mapping[str, Any], answer: Mapping[str, Any] | None, stale: bool, form: Form
) -> dict[str, Any]:
    """Return a round as it is kept, its masks in a form."""
    segments = round.get("segments")
    return {
        "id": round["id"],
        "prompt": round["prompt"] if isinstance(round["prompt"], Mapping) else {"text": round["prompt"]},
        "reply": round.get("reply"),
        "segments": None
        if segments is None
        else [segment_to_wire(Segment.from_dict(one), form) for one in segments],
        "answer": answer,
        "stale": stale,
    }


def session_to_wire(stands: Standing, form: Form) -> dict[str, Any]:
    """Return a whole session."""
    now = stands.moment
    return head_to_wire(stands) | {"rounds": [round_to_wire(*seen, form) for seen in _seen_of(now)]}


def head_to_wire(stands: Standing) -> dict[str, Any]:
    """Return what a session is, without its rounds."""
    now, head = stands.moment, stands.head
    height, width = now.rest["picture"]["size"]
    return {
        "id": stands.id,
        "version": stands.version,
        "model": head["model"],
        "made": head["made"],
        "parent": head.get("parent"),
        "picture": {
            "name": head["name"],
            "width": width,
            "height": height,
            "sha256": now.rest["picture"]["sha256"],
        },
        "can_undo": stands.can_undo,
    }


def changes_to_wire(stands: Standing, before: Moment, form: Form) -> dict[str, Any]:
    """Return what differs from the moment `before`: rounds that are new or other, and the order of all."""
    now = stands.moment
    old = {seen[0]["id"]: seen for seen in _seen_of(before)}
    return {
        "id": stands.id,
        "version": stands.version,
        "rounds": [round_to_wire(*seen, form) for seen in _seen_of(now) if old.get(seen[0]["id"]) != seen],
        "order": [one["id"] for one in now.rounds],
        "can_undo": stands.can_undo,
    }


def _seen_of(now: Moment) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any] | None, bool]]:
    """Yield all that is shown of each round."""
    stale = now.rest.get("stale", ())
    for one, said in zip(now.rounds, now.said, strict=True):
        yield one, said, one["id"] in stale
