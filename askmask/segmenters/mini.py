"""`mini` as a promptable segmenter: a click, a box or nothing at all -> masks with scores. For the data engine.

Masks are those of whole objects, in pixels of the picture given; the score is the predicted IoU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.errors import PictureError, PromptError
from askmask.imaging.mask import Mask
from askmask.model.mini.instances import geometry
from askmask.model.mini.net import Mini, MiniPrefix
from askmask.model.seams import Features
from askmask.model.threads import at_most
from askmask.segmenters.segmenter import Marked, ScoredMask, suppress

AT_ONCE = 64


class PromptableMini:
    """Segments what clicks and boxes point at. Keeps the last picture encoded."""

    def __init__(self, net: Mini):
        self.net = net.eval()
        self._seen: tuple[bytes, Features, MiniPrefix] | None = None

    def segment_boxes(self, rgb: np.ndarray, boxes_xyxy: Sequence[Sequence[float]]) -> list[ScoredMask]:
        """Return one (mask, score) per box (x0, y0, x1, y1) in pixels."""
        corners = np.asarray(boxes_xyxy, np.float32).reshape(-1, 2, 2)
        return self._segment(rgb, corners)

    def segment_points(self, rgb: np.ndarray, points_xy: Sequence[Sequence[float]]) -> list[ScoredMask]:
        """Return one (mask, score) per click (x, y) in pixels."""
        places = np.asarray(points_xy, np.float32).reshape(-1, 1, 2) + 0.5
        return self._segment(rgb, places)

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        """Encode a picture, and keep it: the pixels say which it was."""
        self._look(rgb)
        return rgb

    def draw(self, encoded: np.ndarray, marked: Sequence[Marked]) -> list[ScoredMask]:
        """Return one (mask, score) for each: by its box, or by its first point inside where that mask leaves it out."""
        results: list[ScoredMask] = []
        for one in marked:
            inside = [(x, y) for x, y, within in one.points if within]
            if one.box is None and not inside:
                raise PromptError("mini takes one point inside a thing, or one box around it")
            if not all(within for _, _, within in one.points):
                raise PromptError(
                    "mini draws whole things: it takes no point outside", do="Use another drawer for that."
                )
            drawn = self.segment_boxes(encoded, [one.box]) if one.box is not None else []
            if inside and not (drawn and _covers(drawn[0][0], inside[0])):
                drawn = self.segment_points(encoded, inside[:1])
            results += drawn
        return results

    def everything(self, rgb: np.ndarray) -> list[ScoredMask]:
        """Return every object found as (mask, score), best first, without duplicates."""
        _, prefix = self._look(rgb)
        things = prefix.instances.masks[: prefix.instances.things]
        if not len(things):
            return []
        _, boxes = geometry(things)
        size = np.array([rgb.shape[1], rgb.shape[0]] * 2, np.float32)
        return suppress(self.segment_boxes(rgb, (boxes.cpu().numpy() * size).tolist()))

    @torch.no_grad()
    def _segment(self, rgb: np.ndarray, places: np.ndarray) -> list[ScoredMask]:
        features, prefix = self._look(rgb)
        size = rgb.shape[:2]
        units = torch.from_numpy(places / np.array([size[1], size[0]], np.float32))
        result: list[ScoredMask] = []
        for group in units.split(AT_ONCE) if len(units) else ():
            with at_most(self.net.threads):
                prompts = self.net.segmenter.click(prefix.instances, group.to(self.net.device))
                out = self.net.segmenter.decode(features, prompts, multimask=False)
                masks = F.interpolate(out.logits, size=size, mode="bilinear", align_corners=False)[:, 0] > 0
            result += [
                (Mask.from_array(mask), min(1.0, max(0.0, float(score))))
                for mask, score in zip(masks.cpu().numpy(), out.scores[:, 0], strict=True)
            ]
        return result

    @torch.no_grad()
    def _look(self, rgb: np.ndarray) -> tuple[Features, MiniPrefix]:
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise PictureError("a picture must be uint8 [H, W, 3]", got=f"{rgb.dtype} {rgb.shape}")
        key = rgb.tobytes() + repr(rgb.shape).encode()
        if self._seen is None or self._seen[0] != key:
            with at_most(self.net.threads):
                pixels: Tensor = self.net.segmenter.prepare(rgb)[None].to(self.net.device)
                features = self.net.segmenter.encode(pixels)
                self._seen = (key, features, self.net.prompt_encoder.prefix(None, features))
        return self._seen[1:]


def _covers(mask: Mask, point: tuple[float, float]) -> bool:
    height, width = mask.size
    return bool(mask.to_array()[min(int(point[1]), height - 1), min(int(point[0]), width - 1)])
