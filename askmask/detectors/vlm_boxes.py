"""The writing model as its own detector: one structured request for the boxes of all descriptions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from askmask.detectors.detector import Box
from askmask.vlm.caller import Caller
from askmask.vlm.pictures import SentPicture, shrink
from askmask.vlm.request import Request
from askmask.vlm.templates import hash_of, text_of

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


class VlmBoxes:
    """For models trained to give coordinates: Gemini, Qwen2.5-VL and later, Molmo, Moondream."""

    name = "vlm"
    vlm = None

    def __init__(self, sent_px: int = 768):
        self._sent_px = sent_px

    async def find(self, rgb: np.ndarray, phrases: Mapping[int, str], caller: Caller) -> dict[int, list[Box]]:
        """Return the boxes of each phrase; those that the model did not find have none."""
        template = text_of("askmask.detectors", "locate")
        request = Request(
            stage="segment",
            template_hash=hash_of(template),
            instructions=template,
            pictures=(SentPicture(shrink(rgb, self._sent_px), "the original"),),
            inputs={"descriptions": [{"number": n, "description": text} for n, text in phrases.items()]},
            schema_name=BoxesReply.__name__,
            schema=BoxesReply.model_json_schema(),
        )
        answer = await caller.ask(request, BoxesReply)
        height, width = rgb.shape[:2]
        boxes: dict[int, list[Box]] = {number: [] for number in phrases}
        for reply in answer.value.boxes:
            if reply.found and reply.number in boxes:
                x0, y0, x1, y1 = reply.box
                boxes[reply.number].append(
                    (x0 * width / 1000, y0 * height / 1000, x1 * width / 1000, y1 * height / 1000)
                )
        return boxes
