"""Protocols: by which rules a network is fed and its masks are read. Three by name.

`native` uses the mask that training supervises. The two published ones reproduce what the ConverSeg release does
at inference, which differs from its training and between its two scripts: see docs/protocols.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from askmask.errors import SettingError
from askmask.imaging.files import Picture
from askmask.imaging.resize import Letterbox


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
