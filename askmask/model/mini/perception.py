"""mini's dense heads: what every pixel is, and which object it belongs to. Supervised by the world's truth.

An object is a cluster of pixel embeddings: two of their coordinates are the pixel's place plus a learnt offset to
its object's centre, two are free, so that nested or stacked objects with one centre stay apart. Membership of
pixel i in object k is exp(-|e_i - c_k|^2) (after Neven et al., "Instance segmentation by jointly optimizing
spatial embeddings and clustering bandwidth", CVPR 2019, with one fixed bandwidth). Letters as in seams.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.encoder import conv

SURFACE = "surface"  # not a part in the world's sense (parts do not overlap), but asked for like one
FREE = 2  # embedding coordinates beside the two of the picture plane
PLANE_SCALE = 12.0  # picture sides per unit of embedding distance: membership falls to 1/e at S / 12


@dataclass(frozen=True)
class Percept:
    """What the heads say. Maps at stride 4 are [B, n, S/4, S/4], at stride 2 [B, n, S/2, S/2]."""

    category: Tensor  # stride 4, logits
    colour: Tensor  # stride 4, logits
    attributes: Tensor  # stride 4, logits
    depth: Tensor  # stride 4, [B, 1, ...], in units of the data
    parts: Tensor  # stride 2, logits
    surface: (
        Tensor  # stride 2, [B, 1, ...], logit of "on the upper side of its object, where a cup could stand"
    )
    foreground: Tensor  # stride 2, [B, 1, ...], logit of "part of an object"
    seed: Tensor  # stride 2, [B, 1, ...], logit: how well this pixel stands for its whole object
    embedding: Tensor  # stride 2, [B, 2 + FREE, ...]

    def row(self, number: int) -> Percept:
        """Return what is said of one picture of the batch."""
        if len(self.depth) == 1:
            return self  # with what was worked out of it
        return Percept(*(getattr(self, field.name)[number : number + 1] for field in fields(self)))

    @cached_property
    def shares(self) -> Tensor:
        """Probability of each part name, then of SURFACE, [B, len(part_names), S/2, S/2]."""
        return torch.cat([self.parts.softmax(1), self.surface.sigmoid()], 1)

    @cached_property
    def chances(self) -> tuple[Tensor, Tensor, Tensor]:
        """Probability of each category, of each colour, and of each attribute, [B, n, S/4, S/4]."""
        return self.category.softmax(1), self.colour.softmax(1), self.attributes.sigmoid()


def part_names(config: MiniConfig) -> tuple[str, ...]:
    """Return what of an object can be asked for: index 0 = all of it, the named parts, its upper surface."""
    return (*config.parts, SURFACE)


class Perception(nn.Module):
    """Maps of the encoder -> Percept."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        w2, w4, w8, _ = config.widths
        self.sizes = (len(config.categories), len(config.colours), len(config.attributes), 1)
        hidden = 128
        self.coarse = nn.Sequential(conv(w4 + w8, hidden, 1), nn.Conv2d(hidden, sum(self.sizes), 1))
        # Foreground, seed, embedding, parts and surface: a first guess at stride 4, sharpened at stride 2.
        fine = 2 + 2 + FREE + len(config.parts) + 1
        self.guess = nn.Sequential(conv(w4 + w8, 64, 1), nn.Conv2d(64, fine, 1))
        self.sharpen = nn.Sequential(conv(w2, 32), nn.Conv2d(32, fine, 1))
        for head in (self.guess[-1], self.sharpen[-1]):
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> Percept:
        """Read the encoder's three maps."""
        y2, y4, y8 = maps
        both = torch.cat([y4, F.interpolate(y8, scale_factor=2, mode="nearest")], 1)
        category, colour, attributes, depth = self.coarse(both).split(self.sizes, 1)
        fine = F.interpolate(self.guess(both), scale_factor=2, mode="bilinear") + self.sharpen(y2)
        names = fine.shape[1] - 5 - FREE
        foreground, seed, offset, free, parts, surface = fine.split([1, 1, 2, FREE, names, 1], 1)
        plane = (plane_of(fine) + offset) * PLANE_SCALE
        embedding = torch.cat([plane, free], 1)
        return Percept(category, colour, attributes, depth, parts, surface, foreground, seed, embedding)


def plane_of(map_: Tensor) -> Tensor:
    """Return the centre of each cell in picture sides, [1, 2, h, w], x first."""
    height, width = map_.shape[-2:]
    y = (torch.arange(height, device=map_.device, dtype=map_.dtype) + 0.5) / height
    x = (torch.arange(width, device=map_.device, dtype=map_.dtype) + 0.5) / width
    return torch.stack([x[None].expand(height, -1), y[:, None].expand(-1, width)])[None]
