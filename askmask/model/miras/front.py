"""MIRAS's eyes: CLIP sees the picture coarsely, ConvNeXt finely, and each patch asks the fine cells that lie under it.

    picture S x S -> CLIP at its own size -> P patches  --------------------.
                  -> ConvNeXt, four stages -> P groups of 4 fine cells -----+-> fused patches -> connector -> language

Letters: B pictures, S side of the square (768), g patches a side (24), P = g * g patches, K fine cells under a patch,
V width of CLIP (1024), F width of all ConvNeXt stages together (2880), D language width (4096).
Source: MIRAS (ACL 2025); the fusion is that of Mini-Gemini (2024), with fewer cells; the connector is LLaVA-1.5's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.errors import CheckpointError, PictureError

CELLS = 2  # fine cells a patch, along each side
# CLIP's statistics; the ConvNeXt of the paper was trained as a CLIP too.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
FRAMINGS = ("stretch", "crop")
LONGEST = 200  # times as long as wide
MOST_SIDE = 4096  # px of the square


@dataclass(frozen=True)
class Framing:
    """How a picture becomes the square that both towers see.

    "stretch": the whole picture, as the mask decoder sees it. "crop": the middle square of it, as the published code
    does, so that the language side never sees the borders of a picture that is not square; to measure what that costs.
    """

    side: int
    how: str = "stretch"

    def __post_init__(self) -> None:
        if self.how not in FRAMINGS:
            raise CheckpointError(f"framing is one of {', '.join(FRAMINGS)}", got=repr(self.how)[:80])

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """Turn uint8 [H, W, 3] into normalised pixels [1, 3, S, S]."""
        height, width = rgb.shape[:2]
        if max(height, width) > LONGEST * min(height, width):
            raise PictureError(
                f"the picture is more than {LONGEST} times as long as wide",
                got=f"{width} x {height} px",
                do="Crop it.",
            )
        if self.how == "crop":
            short = min(height, width)
            top, left = (height - short) // 2, (width - short) // 2
            rgb = rgb[top : top + short, left : left + short]
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
        pixels = F.interpolate(pixels, (self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, spread = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        return (pixels - mean) / spread


class PatchFusion(nn.Module):
    """Each patch attends to the fine cells under it, with one head, and takes what it finds on top of itself."""

    def __init__(self, width: int, fine: int):
        super().__init__()
        self.query = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.key = nn.Sequential(nn.LayerNorm(fine), nn.Linear(fine, width))
        self.value = nn.Sequential(nn.LayerNorm(fine), nn.Linear(fine, width))

    def forward(self, patches: Tensor, cells: Tensor) -> Tensor:
        """Fuse patches [B, P, V] with cells [B, P, K, F] to [B, P, V]."""
        query = self.query(patches)[:, :, None]  # [B, P, 1, V]
        found = F.scaled_dot_product_attention(query, self.key(cells), self.value(cells))
        return patches + found[:, :, 0]


class MirasFront(nn.Module):
    """Pictures -> tokens for the language model."""

    def __init__(self, clip: Mapping[str, Any], convnext: Mapping[str, Any], side: int, width: int):
        """Build from transformers' settings of both towers, S and D."""
        from transformers import CLIPVisionConfig, CLIPVisionModel, ConvNextConfig, ConvNextModel

        super().__init__()
        tower: Any = CLIPVisionModel(CLIPVisionConfig(**clip))
        self.clip: Any = getattr(tower, "vision_model", tower)  # the wrapper went with transformers 5.24
        fine: Any = ConvNextConfig(**convnext)
        self.convnext: Any = ConvNextModel(fine)
        settings: Any = tower.config
        self.clip_side: int = settings.image_size
        self.grid = self.clip_side // settings.patch_size
        # Each stage halves the maps, the first by its patches: the last must have a cell at least.
        widths = list(fine.hidden_sizes)
        least = fine.patch_size * 2 ** (len(widths) - 1)
        if side % least or not least <= side <= MOST_SIDE:
            raise CheckpointError(
                f"the side of the square must be a multiple of {least}, up to {MOST_SIDE}", got=side
            )
        self.fusion = PatchFusion(settings.hidden_size, sum(widths))
        self.connector = nn.Sequential(
            nn.Linear(settings.hidden_size, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Turn pixels [B, 3, S, S] into tokens [B, P, D] in reading order."""
        # What trains is in single precision while what is frozen need not be.
        fusion, connector = (next(part.parameters()).dtype for part in (self.fusion, self.connector))
        patches, cells = self.patches(pixels).to(fusion), self.cells(pixels).to(fusion)
        tokens: Tensor = self.connector(self.fusion(patches, cells).to(connector))
        return tokens

    def patches(self, pixels: Tensor) -> Tensor:
        """See coarsely: [B, P, V] of the last layer but one, as LLaVA reads CLIP."""
        pixels = pixels.to(next(self.clip.parameters()).dtype)
        small = F.interpolate(pixels, (self.clip_side, self.clip_side), mode="bilinear", align_corners=False)
        states: Tensor = self.clip(small, output_hidden_states=True).hidden_states[-2]
        return states[:, 1:]

    def cells(self, pixels: Tensor) -> Tensor:
        """See finely: [B, P, K, F], all stages at one size, cut into what lies under each patch."""
        side, maps = self.grid * CELLS, []
        found = self.convnext.embeddings(pixels.to(next(self.convnext.parameters()).dtype))
        for stage in self.convnext.encoder.stages:
            found = stage(found)
            maps.append(F.interpolate(found, (side, side), mode="bilinear", align_corners=False))
        whole = torch.cat(maps, 1).unflatten(3, (self.grid, CELLS)).unflatten(2, (self.grid, CELLS))
        return whole.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)  # of [B, F, g, 2, g, 2]
