"""A detector of noun phrases as a pointer: Grounding DINO and Moondream know boxes, no words and no history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from askmask.conversation import Prompt, Round
from askmask.detectors.detector import Detector
from askmask.imaging.files import Picture
from askmask.pointing.meter import Calls, Meter
from askmask.pointing.outcome import Instance, NothingHere, Outcome, Pointed
from askmask.vlm.caller import Caller


class _NoVlm:
    """Stands for a model where a detector calls none."""

    provider = model = "none"
    extra: ClassVar[dict[str, Any]] = {}

    async def complete(self, request: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""


class DetectorPointer:
    """The whole prompt is the phrase; what came before is not used."""

    draws = False

    def __init__(self, detector: Detector):
        self.detector, self.name, self.fingerprint = detector, detector.name, detector.name
        self.notices: tuple[str, ...] = (
            f"{detector.name} takes noun phrases: it reads neither questions nor what was said before",
        )
        self._calls = Calls(detector.vlm or _NoVlm())
        self.remembering, self.close = self._calls.remembering, self._calls.close

    def see(self, picture: Picture) -> np.ndarray:
        """Return its pixels."""
        return picture.rgb

    def point(self, seen: np.ndarray, prompt: Prompt, rounds: Sequence[Round], meter: Meter) -> Outcome:
        """Return the boxes of the phrase."""

        async def find(caller: Caller) -> list[Any]:
            return (await self.detector.find(seen, {1: prompt.text}, caller))[1]

        height, width = seen.shape[:2]
        found = self._calls.run(meter, find)
        boxes = [(max(0.0, a), max(0.0, b), min(width, c), min(height, d)) for a, b, c, d in found]
        boxes = [box for box in boxes if box[2] - box[0] >= 1 and box[3] - box[1] >= 1]
        if not boxes:
            return NothingHere(f"{self.name} found nothing of that name")
        return Pointed(tuple(Instance(box=box, label=prompt.text[:200]) for box in boxes))
