"""Clicks and boxes as prompts of the same mask decoder: what makes `mini` a promptable segmenter.

Letters as in seams.py. Coordinates are in picture sides, 0..1, x first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.decoder import Painted
from askmask.model.mini.instances import Instances, geometry


class ClickEncoder(nn.Module):
    """Points [B, 1, 2] or boxes [B, 2, 2] -> Painted, with the region they mean painted in."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        channels = config.channels
        self.kind = nn.Embedding(3, channels)  # a click, a box's first corner, its second
        self.dense = nn.Parameter(torch.zeros(channels))
        self.to_map = nn.Conv2d(1, channels, 4, 4)

    def forward(self, places: Tensor, waves: Tensor, paint: Tensor) -> Painted:
        """`waves` [2, C / 2] are the decoder's; paint [B, S/2, S/2]."""
        count, corners = places.shape[:2]
        angle = places * 2 * torch.pi @ waves
        kinds = torch.arange(corners, device=places.device) + (corners == 2)
        sparse = torch.cat([angle.sin(), angle.cos()], -1) + self.kind(kinds)
        mask = torch.ones(count, corners, dtype=torch.bool, device=places.device)
        dense = self.dense[:, None, None] + self.to_map(paint[:, None])
        rows = torch.zeros(count, dtype=torch.long, device=places.device)  # of one prompt
        return Painted(sparse, mask, dense, rows, paint, torch.full((count,), 4.0, device=places.device))


def region_at(instances: Instances, places: Tensor) -> Tensor:
    """Return the region each point or box means, [B, S/2, S/2]; nothing painted where there is none."""
    masks = instances.masks[: instances.things]
    height, width = instances.masks.shape[-2:]
    painted = instances.masks.new_zeros(len(places), height, width)
    if not len(masks):
        return painted
    if places.shape[1] == 1:
        x = (places[:, 0, 0] * width).long().clamp(0, width - 1)
        y = (places[:, 0, 1] * height).long().clamp(0, height - 1)
        best, which = masks[:, y, x].max(0)
        found = best > 0.2
    else:
        _, boxes = geometry(masks)
        low = torch.maximum(boxes[None, :, :2], places[:, None, 0])
        high = torch.minimum(boxes[None, :, 2:], places[:, None, 1])
        both = (high - low).clamp(min=0).prod(-1)
        own = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
        given = (places[:, 1] - places[:, 0]).prod(-1)
        best, which = (both / (own[None] + given[:, None] - both).clamp(min=1e-6)).max(1)
        found = best > 0.3
    painted[found] = masks[which[found]]
    return painted
