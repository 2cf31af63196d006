"""Grounding DINO through transformers as a detector: one description at a time, its best box or its best few.

Not run with the released weights in this repository's tests (they cannot be fetched there).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from askmask.detectors.detector import Box
from askmask.errors import MissingExtra
from askmask.vlm.caller import Caller
from askmask.vlm.errors import UnitFailed

HUB_NAME = "IDEA-Research/grounding-dino-tiny"
SHORTER_PX, LONGER_PX = 800, 1333


class GroundingDino:
    """`folder` is a model folder, or a Hub name that was fetched before. Boxes below `threshold` are not offered.

    `most`: boxes that a phrase may have; those that overlap a better one by more than half are left out.
    """

    name = "grounding-dino"
    vlm = None

    def __init__(
        self,
        folder: str = HUB_NAME,
        *,
        device: str = "cpu",
        threshold: float = 0.3,
        most: int = 1,
        model: Any = None,
        tokenizer: Any = None,
    ):
        try:
            import torch
            from transformers import AutoTokenizer, GroundingDinoForObjectDetection
        except ImportError as error:
            raise MissingExtra("transformers", "engine") from error
        self._torch, self._device, self._threshold, self._most = torch, device, threshold, most
        model = model or GroundingDinoForObjectDetection.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()  # type: ignore[arg-type]  # transformers' wrapper of `to` hides self
        self._tokenizer = tokenizer or AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._lock = asyncio.Lock()

    async def find(self, rgb: np.ndarray, phrases: Mapping[int, str], caller: Caller) -> dict[int, list[Box]]:
        """Return at most `most` boxes per phrase: the first noun phrase is what the model grounds best."""

        def work() -> dict[int, list[Box]]:
            return {number: self._boxes(rgb, text) for number, text in phrases.items()}

        try:
            async with self._lock:
                return await asyncio.to_thread(work)
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise UnitFailed("detector", f"Grounding DINO: {type(error).__name__}: {error}") from error

    def _boxes(self, rgb: np.ndarray, text: str) -> list[Box]:
        # Trained on lower-case phrases that end in a full stop; a clause after the comma only distracts.
        phrase = text.split(",")[0].lower().strip().rstrip(".") + "."
        words = self._tokenizer(phrase, return_tensors="pt").to(self._device)
        with self._torch.inference_mode():
            output = self._model(pixel_values=self._prepare(rgb), **words)
        scores = output.logits[0].sigmoid().amax(dim=-1)  # [queries]
        height, width = rgb.shape[:2]
        found: list[Box] = []
        for index in scores.argsort(descending=True).tolist():
            if float(scores[index]) < self._threshold or len(found) == self._most:
                break
            x, y, w, h = (float(v) for v in output.pred_boxes[0, index])
            box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            if all(_overlap(box, other) <= 0.5 for other in found):
                found.append(box)
        return found

    def _prepare(self, rgb: np.ndarray) -> Any:
        """Scale the shorter side to 800 px, the longer to 1333 at most, and normalise: [1, 3, h, w].

        By hand, since the library's image processor for this model needs torchvision.
        """
        torch = self._torch
        height, width = rgb.shape[:2]
        scale = min(SHORTER_PX / min(height, width), LONGER_PX / max(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        chw = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
        chw = torch.nn.functional.interpolate(chw, size, mode="bilinear", antialias=True, align_corners=False)
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        return ((chw - mean) / std).to(self._device)


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    common = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return common / max(1e-9, (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)
