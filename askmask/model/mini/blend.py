"""From half the picture's side to all of it: every pixel is a blend of the cells around it.

Which cells, the picture alone says, so it is found once and serves every mask, whatever was asked. A cell at stride 2
on an outline lies half in and half out; blurred up, that costs small things most. After the convex
upsampling of optical flow in RAFT (Teed and Deng, "RAFT: Recurrent all-pairs field transforms", ECCV 2020, section
3.3). Letters as in seams.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.encoder import conv

REACH = 1  # cells to each side that a pixel may be like
CELLS = (2 * REACH + 1) ** 2
WIDTH = 32
OWN = 4.0  # logit of a pixel's own cell before anything is learnt


class Blend(nn.Module):
    """Pixels and the map at stride 2 -> how much each pixel is like each of the CELLS around it."""

    def __init__(self, channels: int):
        super().__init__()
        self.pixels = conv(12, WIDTH)
        self.both = conv(WIDTH + channels, WIDTH)
        self.out = nn.Conv2d(WIDTH, 4 * CELLS, 1)
        assert self.out.bias is not None
        nn.init.normal_(self.out.weight, std=0.01)
        own = torch.zeros(4, CELLS)
        own[:, CELLS // 2] = OWN
        with torch.no_grad():
            self.out.bias.copy_(own.flatten())

    def forward(self, pixels: Tensor, y2: Tensor) -> Tensor:
        """pixels [B, 3, S, S] and y2 [B, C, S/2, S/2] -> shares [B, 4 * CELLS, S/2, S/2], 1 over the CELLS."""
        seen = torch.cat([self.pixels(F.pixel_unshuffle(pixels, 2)), y2], 1)
        return self.out(self.both(seen)).unflatten(1, (4, CELLS)).softmax(2).flatten(1, 2)


def blended(shares: Tensor, masks: Tensor) -> Tensor:
    """Bring masks [B, K, S/2, S/2] to all pixels, [B, K, S, S]; `shares` of one picture for all, or of each."""
    height, width = masks.shape[-2:]
    shares = shares.unflatten(1, (4, CELLS))[:, None]  # [B, 1, 4, CELLS, h, w]
    around = F.pad(masks, [REACH] * 4, mode="replicate")
    side = 2 * REACH + 1
    found = masks.new_zeros(*masks.shape[:2], 4, height, width)
    for cell in range(CELLS):
        row, column = divmod(cell, side)
        part = around[:, :, row : row + height, column : column + width]
        found = found + shares[:, :, :, cell] * part[:, :, None]
    return F.pixel_shuffle(found.flatten(1, 2), 2)
