"""The writing model as its own detector: one structured request for the boxes of all descriptions."""

from __future__ import annotations

from askmask.engine.pictures import Picture
from askmask.engine.replies import BoxesReply
from askmask.engine.templates import text_of
from askmask.engine.tools import Tools, request_for
from askmask.engine.values import Box, Description


class VlmBoxes:
    """For models trained to give coordinates: Gemini, Qwen2.5-VL and later, Molmo, Moondream."""

    name = "vlm"

    async def find(
        self, picture: Picture, descriptions: tuple[Description, ...], tools: Tools
    ) -> list[list[Box]]:
        """Return the boxes of each description; those the model did not find have none."""
        answer = await tools.writer.ask(
            request_for(
                "segment",
                BoxesReply,
                instructions=text_of("locate"),
                templates=("locate",),
                pictures=(tools.original(picture),),
                inputs={"descriptions": [{"number": d.id, "description": d.text} for d in descriptions]},
            ),
            BoxesReply,
        )
        height, width = picture.size
        boxes: dict[int, list[Box]] = {}
        for reply in answer.value.boxes:
            if reply.found:
                x0, y0, x1, y1 = reply.box
                boxes.setdefault(reply.number, []).append(
                    (x0 * width / 1000, y0 * height / 1000, x1 * width / 1000, y1 * height / 1000)
                )
        return [boxes.get(d.id, []) for d in descriptions]
