"""Mini: the whole small network, in the published order: encode, ask, adapt, decode. Letters as in seams.py.

Offers both seams: it is the Segmenter (`prepare`, `encode`, `decode`) and the PromptEncoder (`prefix`, `ask`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.clicks import ClickEncoder, region_at
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.decoder import MaskDecoder, MiniAdapter, Painted
from askmask.model.mini.encoder import Encoder
from askmask.model.mini.instances import Instances, gather
from askmask.model.mini.language import Choice, Language, Seen, pad_regions, paint
from askmask.model.mini.perception import Percept, Perception
from askmask.model.seams import Features, MaskOutput


@dataclass(frozen=True)
class MiniPrefix:
    """What one picture gives to any number of prompts."""

    instances: Instances
    seen: Seen  # of one picture
    parts: Tensor  # [1, P, S/2, S/2] probabilities


class Mini(nn.Module):
    """All parts of `mini`."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        self.config = config
        self.channels, self.image_size, self.width = config.channels, config.image_size, config.language_width
        self.encoder = Encoder(config.widths)
        self.perception = Perception(config)
        self.language = Language(config)
        self.adapter = MiniAdapter(config)
        self.decoder = MaskDecoder(config)
        self.clicks = ClickEncoder(config)

    # -- the picture, once ----------------------------------------------------------------------------------

    def prepare(self, rgb: np.ndarray, *, letterbox: bool = False) -> Tensor:
        """Turn uint8 [H, W, 3] into [3, S, S] in -1..1: stretched, or padded with grey below and to the right."""
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
        side = self.image_size
        height, width = rgb.shape[:2]
        fit = (side, side)
        if letterbox:
            longest = max(height, width)
            fit = (max(1, round(height * side / longest)), max(1, round(width * side / longest)))
        if (height, width) != fit:
            pixels = F.interpolate(pixels, size=fit, mode="bilinear", antialias=True)
        pixels = pixels / 127.5 - 1
        return F.pad(pixels, (0, side - fit[1], 0, side - fit[0]))[0]

    def encode(self, pixels: Tensor) -> Features:
        """[B, 3, S, S] -> maps at strides 2, 4, 8."""
        return Features(self.encoder(pixels))

    def perceive(self, features: Features) -> Percept:
        """Read the dense heads."""
        return self.perception(features.maps)

    def prefix(self, rgb: np.ndarray | None, features: Features) -> MiniPrefix:
        """Find the regions of one picture; `rgb` is not needed (the large network's encoder reads it)."""
        percept = self.perceive(features)
        instances = gather(percept, features.maps, 0, self.config)
        return MiniPrefix(instances, self.language.see(pad_regions([instances])), percept.parts.softmax(1))

    # -- every prompt ---------------------------------------------------------------------------------------

    def ask(self, prefix: MiniPrefix, prompts: list[str]) -> Painted:
        """Encode B prompts about the picture of `prefix`; each row as if it were alone."""
        choice = self.language(prefix.seen.expand(len(prompts)), prompts)
        return self.adapter(choice, self.paint(choice, prefix))

    def click(self, prefix: MiniPrefix, places: Tensor) -> Painted:
        """Encode B clicks [B, 1, 2] or boxes [B, 2, 2], in picture sides."""
        return self.clicks(places, self.decoder.waves, region_at(prefix.instances, places))

    def paint(self, choice: Choice, prefix: MiniPrefix) -> Tensor:
        """Paint what B prompts chose, [B, S/2, S/2]."""
        count = len(choice.select)
        masks = prefix.instances.masks[None].expand(count, -1, -1, -1)
        select = choice.select[:, : masks.shape[1]]
        return paint(select, choice.gate, masks, prefix.parts.expand(count, -1, -1, -1))

    def decode(self, features: Features, prompts: Painted, *, multimask: bool) -> MaskOutput:
        """Return the supervised mask, or with `multimask` the three alternatives."""
        out = self.decoder(features, prompts)
        kept = slice(1, None) if multimask else slice(0, 1)
        return MaskOutput(out.logits[:, kept], out.scores[:, kept], out.presence_logits)
