"""The writing model as its own detector: one structured request for the boxes of all descriptions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from askmask.detectors.detector import Box
from askmask.pointing.conventions import UNKNOWN, convention_of
from askmask.pointing.sent import Clip, Sent, to_send
from askmask.vlm.caller import Caller
from askmask.vlm.errors import Quarantined
from askmask.vlm.pictures import SentPicture, shrink
from askmask.vlm.request import Request
from askmask.vlm.templates import fill, hash_of, text_of

MOST_BOXES = 200


class BoxReply(BaseModel):
    """Where one described region is; coordinates 0..1000 over width and height, origin top-left."""

    model_config = ConfigDict(extra="forbid")

    number: int
    found: bool
    box: list[float] = Field(description="[x0, y0, x1, y1] in 0..1000; all 0 when not found")

    @field_validator("box")
    @classmethod
    def _four_in_order(cls, box: list[float]) -> list[float]:
        if len(box) != 4 or any(not -50 <= v <= 1050 for v in box):
            raise ValueError("a box is four numbers x0, y0, x1, y1 in 0..1000")
        return box


class BoxesReply(BaseModel):
    """Stage 2, where the model is its own detector."""

    model_config = ConfigDict(extra="forbid")

    boxes: list[BoxReply]

    @field_validator("boxes")
    @classmethod
    def _not_endless(cls, boxes: list[BoxReply]) -> list[BoxReply]:
        if len(boxes) > MOST_BOXES:
            raise ValueError(f"at most {MOST_BOXES} boxes are read")
        return boxes


class FamilyBoxReply(BoxReply):
    """Where one described region is, as the instructions say."""

    box: list[float] = Field(description="four numbers; all 0 when not found")

    @field_validator("box")
    @classmethod
    def _four_in_order(cls, box: list[float]) -> list[float]:
        if len(box) != 4 or any(not -1e5 <= v <= 1e5 for v in box):
            raise ValueError("a box is four numbers")
        return box


class FamilyBoxesReply(BoxesReply):
    """Stage 2, for a model with its own way of writing places."""

    boxes: list[FamilyBoxReply]  # type: ignore[assignment]  # a list of a narrower kind


class VlmBoxes:
    """For models trained to give coordinates. `convention`: a row of the table, if not the one of the model's name."""

    name = "vlm"
    vlm = None

    def __init__(self, sent_px: int = 768, *, convention: str | None = None):
        self._sent_px, self._convention = sent_px, convention
        if convention is not None:
            convention_of("", convention)  # an unknown one is said before anything is sent

    async def find(self, rgb: np.ndarray, phrases: Mapping[int, str], caller: Caller) -> dict[int, list[Box]]:
        """Return the boxes of each phrase; those that the model did not find have none."""
        schema: type[BoxesReply]
        convention = convention_of(caller.vlm.model, self._convention)
        if convention == UNKNOWN:
            template, schema = text_of("askmask.detectors", "locate"), BoxesReply
            small = shrink(rgb, self._sent_px)
            scale = (small.shape[1] / rgb.shape[1], small.shape[0] / rgb.shape[0])
            sent = Sent(SentPicture(small, "the original"), (rgb.shape[0], rgb.shape[1]), scale)
        else:
            sent, schema = to_send(rgb, convention, "the original"), FamilyBoxesReply
            template = fill("askmask.detectors", "locate_in", words=convention.in_words(sent.size))
        request = Request(
            stage="segment",
            template_hash=hash_of(template),
            instructions=template,
            pictures=(sent.picture,),
            inputs={"descriptions": [{"number": n, "description": text} for n, text in phrases.items()]},
            schema_name="BoxesReply",
            schema=schema.model_json_schema(),
        )
        answer = await caller.ask(request, schema)
        found = [reply for reply in answer.value.boxes if reply.found and reply.number in phrases]
        boxes: dict[int, list[Box]] = {number: [] for number in phrases}
        clip = Clip(sent, convention)
        for reply in found:
            corners = [clip.back(*reply.box[:2]), clip.back(*reply.box[2:])]
            boxes[reply.number].append((*corners[0], *corners[1]))
        if clip.outside * 2 > clip.places:
            raise Quarantined(
                "parse",
                f"{clip.outside} of {clip.places} corners lie outside the picture: does {caller.vlm.model} write "
                f"them as {convention.name} does? Name another with --coordinates",
                keys=(answer.key,),
            )
        return boxes
