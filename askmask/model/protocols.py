"""Protocols: by which rules a network is fed and its masks are read. Three by name.

`native` uses the mask that training supervises. The two published ones reproduce what the ConverSeg release does
at inference, which differs from its training and between its two scripts: see docs/protocols.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from askmask.errors import SettingError
from askmask.imaging.files import Picture
from askmask.imaging.resize import Letterbox

# EXIF orientation -> where a place of the upright picture lies in the stored one, in sides (files.py turns pixels).
_STORED = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (y, 1 - x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (1 - y, x),
}
MASK_LOGIT = 10.0  # of a pixel wholly inside a drawn mask, as SAM2 turns masks into prompts


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How pictures enter, how prompts are read, and which mask is the answer."""

    name: str
    letterbox: bool = False  # keep the picture's shape between black bars, else stretch it to the square
    as_stored: bool = False  # segment the pixels as the file stores them, before EXIF orientation
    best_of_three: bool = False  # the alternative with the highest predicted IoU, else the supervised mask
    published_text: bool = False  # prompts cut and cleaned as published, the empty prompt allowed

    def rgb(self, picture: Picture) -> np.ndarray:
        """Return the pixels to segment, uint8 [H', W', 3]. (The language side always sees the upright ones.)"""
        return picture.as_stored() if self.as_stored else picture.rgb

    def restore(self, logits: Tensor, picture: Picture, side: int) -> np.ndarray:
        """Take mask logits [K, h, w] of the square back to the upright picture: float32 [K, H, W]."""
        height, width = self.rgb(picture).shape[:2]
        logits = logits.float()[None]  # [1, K, h, w]
        if self.letterbox:
            box = Letterbox.of((height, width), side)
            logits = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
            logits = logits[:, :, box.rows, box.columns]
        logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)[0]
        planes = logits.cpu().numpy()
        if self.as_stored:
            return np.stack([picture.upright(plane) for plane in planes])
        return planes

    def to_square(self, places: np.ndarray, picture: Picture, side: int) -> np.ndarray:
        """Take places [N, 2] (x, y in pixels of the upright picture) to sides of the square input, in 0..1."""
        height, width = picture.size
        x, y = (places / (width, height)).clip(0, 1).T
        if self.as_stored:
            x, y = _STORED[picture.orientation](x, y)
        if self.letterbox:
            box = Letterbox.of(self.rgb(picture).shape[:2], side)
            x, y = (box.left + x * box.inner[1]) / side, (box.top + y * box.inner[0]) / side
        return np.stack([x, y], 1)

    def mask_cover(self, mask: np.ndarray, picture: Picture, side: int) -> Tensor:
        """Return how much of each cell of the square input a mask, bool [H, W] upright, covers: [side, side]."""
        rgb = self.rgb(replace(picture, rgb=np.repeat(mask[:, :, None], 3, 2).astype(np.uint8) * 255))
        if self.letterbox:
            rgb = Letterbox.of(rgb.shape[:2], side).pad(rgb)
        cover = torch.from_numpy(rgb[:, :, 0].copy()).float()[None, None] / 255
        return F.interpolate(cover, (side, side), mode="bilinear", antialias=True)[0, 0]

    def mask_logits(self, mask: np.ndarray, picture: Picture, side: int) -> Tensor:
        """Take a mask, bool [H, W] over the upright picture, to logits [side, side] over the square input."""
        return MASK_LOGIT * (2 * self.mask_cover(mask, picture, side) - 1)

    def choose(self, scores: Tensor) -> Tensor:
        """Return the index [B] of the mask to use among K, from predicted IoU [B, K]."""
        return scores.argmax(1) if self.best_of_three else torch.zeros(len(scores), dtype=torch.long)


NATIVE = Protocol(name="native")
PUBLISHED_EVAL = Protocol(name="published-eval", as_stored=True, best_of_three=True, published_text=True)
PUBLISHED_DEMO = Protocol(
    name="published-demo", letterbox=True, as_stored=True, best_of_three=True, published_text=True
)
PROTOCOLS = {p.name: p for p in (NATIVE, PUBLISHED_EVAL, PUBLISHED_DEMO)}


def protocol_named(name: str) -> Protocol:
    """Return the protocol of a name. Raises SettingError listing the names."""
    if name not in PROTOCOLS:
        raise SettingError("no such protocol", got=repr(name), do=f"Use one of: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
