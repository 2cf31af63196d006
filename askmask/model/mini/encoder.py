"""mini's image encoder: a small U-Net to stride 16 with transformer layers at its coarsest stride.

Letters as in seams.py. BatchNorm, because a network trained from nothing in minutes needs it; it is frozen
(running statistics) wherever the encoder is, so a picture's features never depend on its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.seams import Features


def conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


def pyramid(features: Features) -> tuple[Tensor, Tensor, Tensor]:
    """Return the encoder's maps at strides 2, 4, 8, without what may lie before them (blend.py)."""
    y2, y4, y8 = features.maps[-3:]
    return y2, y4, y8


class Residual(nn.Module):
    """Two 3x3 convolutions around a short cut."""

    def __init__(self, width: int):
        super().__init__()
        self.first = conv(width, width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w] -> the same."""
        return F.relu(x + self.norm(self.second(self.first(x))))


class GlobalLayer(nn.Module):
    """A pre-norm transformer layer over all cells, after a depthwise convolution that tells them their place."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.place = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w] -> the same."""
        batch, width, height, wide = x.shape
        x = x + self.place(x)
        cells = x.flatten(2).transpose(1, 2)  # [B, h*w, width]
        q, k, v = self.qkv(self.norm1(cells)).view(batch, -1, 3, self.heads, width // self.heads).unbind(2)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        cells = cells + self.out(mixed.transpose(1, 2).flatten(2))
        cells = cells + self.mlp(self.norm2(cells))
        return (
            cells.transpose(1, 2)
            .reshape(batch, width, height, wide)
            .contiguous(memory_format=torch.channels_last)
        )


class Encoder(nn.Module):
    """Picture [B, 3, S, S] -> maps at strides 2, 4, 8 with `widths[0..2]` channels."""

    def __init__(self, widths: tuple[int, int, int, int], heads: int = 4):
        super().__init__()
        w2, w4, w8, w16 = widths
        self.stem = conv(3, w2, 3, 2)
        self.down4 = nn.Sequential(conv(w2, w4, 3, 2), Residual(w4))
        self.down8 = nn.Sequential(conv(w4, w8, 3, 2), Residual(w8), Residual(w8))
        self.down16 = nn.Sequential(conv(w8, w16, 3, 2), Residual(w16))
        self.whole = nn.Sequential(GlobalLayer(w16, heads), GlobalLayer(w16, heads))
        self.lift8 = conv(w16, w8, 1)
        self.up8 = Residual(w8)
        self.lift4 = conv(w8, w4, 1)
        self.up4 = Residual(w4)
        self.lift2 = conv(w4, w2, 1)
        self.up2 = Residual(w2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return maps [B, w2, S/2, S/2], [B, w4, S/4, S/4], [B, w8, S/8, S/8]."""
        x2 = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        x4 = self.down4(x2)
        x8 = self.down8(x4)
        x16 = self.whole(self.down16(x8))
        y8 = self.up8(x8 + F.interpolate(self.lift8(x16), scale_factor=2, mode="nearest"))
        y4 = self.up4(x4 + F.interpolate(self.lift4(y8), scale_factor=2, mode="nearest"))
        y2 = self.up2(x2 + F.interpolate(self.lift2(y4), scale_factor=2, mode="nearest"))
        return y2, y4, y8
