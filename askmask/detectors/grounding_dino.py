"""Grounding DINO through transformers as a detector: one description at a time, its best box.

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
    """`folder` is a model folder, or a Hub name that was fetched before. Boxes below `threshold` are not offered."""

    name = "grounding-dino"
    vlm = None

    def __init__(
        self,
        folder: str = HUB_NAME,
        *,
        device: str = "cpu",
        threshold: float = 0.3,
        model: Any = None,
        tokenizer: Any = None,
    ):
        try:
            import torch
            from transformers import AutoTokenizer, GroundingDinoForObjectDetection
        except ImportError as error:
            raise MissingExtra("transformers", "engine") from error
        self._torch, self._device, self._threshold = torch, device, threshold
        model = model or GroundingDinoForObjectDetection.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()  # type: ignore[arg-type]  # transformers' wrapper of `to` hides self
        self._tokenizer = tokenizer or AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._lock = asyncio.Lock()

    async def find(self, rgb: np.ndarray, phrases: Mapping[int, str], caller: Caller) -> dict[int, list[Box]]:
        """Return at most one box per phrase: the first noun phrase is what the model grounds best."""

        def work() -> dict[int, list[Box]]:
            return {number: self._best(rgb, text) for number, text in phrases.items()}

        try:
            async with self._lock:
                return await asyncio.to_thread(work)
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise UnitFailed("detector", f"Grounding DINO: {type(error).__name__}: {error}") from error

    def _best(self, rgb: np.ndarray, text: str) -> list[Box]:
        # Trained on lower-case phrases that end in a full stop; a clause after the comma only distracts.
        phrase = text.split(",")[0].lower().strip().rstrip(".") + "."
        words = self._tokenizer(phrase, return_tensors="pt").to(self._device)
        with self._torch.inference_mode():
            output = self._model(pixel_values=self._prepare(rgb), **words)
        scores = output.logits[0].sigmoid().amax(dim=-1)  # [queries]
        best = int(scores.argmax())
        if float(scores[best]) < self._threshold:
            return []
        x, y, w, h = (float(v) for v in output.pred_boxes[0, best])
        height, width = rgb.shape[:2]
        return [((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)]

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
