"""Detector: what stage 2 needs to turn words into boxes; and every detector opened by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from askmask.errors import SettingError
from askmask.vlm.caller import Caller
from askmask.vlm.request import Vlm

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels, x1 and y1 one past the last
NAMES = ("vlm", "grounding-dino", "moondream")


class Detector(Protocol):
    """Phrases -> boxes. Several boxes for one phrase are parts of one region; none: not found."""

    name: str

    @property
    def vlm(self) -> Vlm | None:
        """A model of its own, which is called through a Caller like any other."""

    async def find(self, rgb: np.ndarray, phrases: Mapping[int, str], caller: Caller) -> dict[int, list[Box]]:
        """Return the boxes of each numbered phrase on uint8 [H, W, 3]. Raises UnitFailed.

        `caller` calls the detector's own `vlm`, else the run's writing model.
        """


def open_detector(
    name: str,
    *,
    at: str | None = None,
    device: str = "cpu",
    sent_px: int = 768,
    convention: str | None = None,
    most: int = 1,
    weights: Callable[[str], str] = str,
) -> Detector:
    """Make a detector. `at`: its model folder or base URL; `convention`: how a VLM
    writes coordinates, if not as its name says; `most`: boxes a phrase may have, of Grounding DINO;
    `weights` turns a Hub name into a folder."""
    if name == "vlm":
        from askmask.detectors.vlm_boxes import VlmBoxes

        return VlmBoxes(sent_px, convention=convention)
    if name == "grounding-dino":
        from askmask.detectors.grounding_dino import HUB_NAME, GroundingDino

        return GroundingDino(weights(at or HUB_NAME), device=device, most=most)
    if name == "moondream":
        from askmask.detectors.moondream import Moondream

        return Moondream(at, sent_px=sent_px)
    raise SettingError("unknown detector", got=repr(name), do=f"Use one of: {', '.join(NAMES)}.")
