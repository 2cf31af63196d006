"""Moondream as a detector: one call for each phrase, in the run's ledger and under its budget."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel

from askmask.detectors.detector import Box
from askmask.vlm.caller import Caller
from askmask.vlm.moondream import CLOUD, MoondreamVlm
from askmask.vlm.pictures import SentPicture, shrink
from askmask.vlm.request import Request


class _Object(BaseModel):
    x_min: float
    y_min: float
    x_max: float
    y_max: float


class ObjectsReply(BaseModel):
    """What the endpoint answers."""

    objects: list[_Object]


class Moondream:
    """`base_url`: the cloud's unless given; the key, if one is needed, is read from MOONDREAM_API_KEY."""

    name = "moondream"

    def __init__(self, base_url: str | None = None, *, sent_px: int = 768):
        self.vlm = MoondreamVlm(base_url or CLOUD)
        self._sent_px = sent_px

    async def find(self, rgb: np.ndarray, phrases: Mapping[int, str], caller: Caller) -> dict[int, list[Box]]:
        """Return every box that the endpoint gives for each phrase."""
        picture = SentPicture(shrink(rgb, self._sent_px), "the original")
        found = await asyncio.gather(*(self._find(picture, text, caller) for text in phrases.values()))
        height, width = rgb.shape[:2]
        return {
            number: [(o.x_min * width, o.y_min * height, o.x_max * width, o.y_max * height) for o in objects]
            for number, objects in zip(phrases, found, strict=True)
        }

    async def _find(self, picture: SentPicture, text: str, caller: Caller) -> list[_Object]:
        request = Request(
            stage="segment",
            template_hash="",
            pictures=(picture,),
            inputs={"object": text},
            schema_name="ObjectsReply",
            max_tokens=512,
        )
        return (await caller.ask(request, ObjectsReply)).value.objects
