"""A remembered mask as language vectors: what is seen under it at two scales, and its box.

Letters: M masks, D language width, C decoder channels, N picture tokens of the language side. Masks are [M, 4h, 4w] in
0..1 over the network's square, into which the whole picture is stretched for both sides.
Source: SegLLM (ICLR 2025), which re-encodes a crop of the picture instead, and gives the box through one linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.seams import Features
from askmask.model.talk.config import TalkConfig

WAVES = 6  # octaves of each number of a box
NUMBERS = 8  # x0, y0, x1, y1, their centre, width and height, in sides of the square
DIGITS = 3  # of a coordinate written in words, in thousandths
SHARE_LEFT_OUT = 0.15  # of masks, and of boxes, that training leaves out, so that either alone is understood


@dataclass(frozen=True)
class Seen:
    """The picture as the language side sees it: tokens in reading order."""

    tokens: Tensor  # [N, D]
    grid: tuple[int, int]  # rows, columns


class MaskMemory(nn.Module):
    """Masks -> [M, slots, D]: some tokens for what is under each, some for its box."""

    def __init__(self, config: TalkConfig, width: int, channels: int):
        super().__init__()
        self.config, self.width, self.channels = config, width, channels
        if config.mask_tokens:
            self.norm_seen, self.norm_feature = nn.LayerNorm(width), nn.LayerNorm(channels)
            self.under = _mlp(width + channels, width, config.mask_tokens * width)
            self.no_mask = nn.Parameter(0.02 * torch.randn(config.mask_tokens, width))
        self.box: nn.Module
        if config.box == "fourier":
            self.box = _mlp(NUMBERS * (1 + 2 * WAVES), width, width)
        elif config.box == "linear":
            self.box = nn.Linear(4, width)
        if config.box != "none":
            self.no_box = nn.Parameter(0.02 * torch.randn(1, width))

    @property
    def slots(self) -> tuple[int, int]:
        """How many tokens a mask has, and how many its box."""
        boxes = {"none": 0, "text": len(_written(torch.zeros(4)))}
        return self.config.mask_tokens, boxes.get(self.config.box, 1)

    def forward(
        self,
        masks: Tensor,
        row: Sequence[int],
        seen: Sequence[Seen],
        features: Features,
        digits: Tensor,
    ) -> Tensor:
        """Encode masks, each of the picture `row` of `seen` and `features`. `digits` [11, D]: of 0 to 9, and a comma.

        A mask without pixels is the learnt nothing.
        """
        parts = []
        there = (masks > 0.5).flatten(1).any(1)
        if self.config.mask_tokens:
            found = self.under(self._look(masks, row, seen, features)).unflatten(1, (-1, self.width))
            shown = (there & self._kept(len(masks), masks.device))[:, None, None]
            parts.append(torch.where(shown, found, self.no_mask))
        if self.config.box != "none":
            boxes = boxes_of(masks)
            shown = (there & self._kept(len(masks), masks.device))[:, None, None]
            parts.append(torch.where(shown, self._boxes(boxes, digits), self.no_box))
        if not parts:
            return masks.new_zeros(len(masks), 0, self.width)
        return torch.cat(parts, 1)

    def _kept(self, count: int, device: torch.device) -> Tensor:
        if not self.training:
            return torch.ones(count, dtype=torch.bool, device=device)
        return (torch.rand(count) >= SHARE_LEFT_OUT).to(device)

    def _look(self, masks: Tensor, row: Sequence[int], seen: Sequence[Seen], features: Features) -> Tensor:
        """Pool what lies under each mask, [M, D + C]."""
        pooled = []
        coarse = features.maps[-1]
        for mask, number in zip(masks, row, strict=True):
            one = seen[number]
            near = coarse[number if len(coarse) > 1 else 0].flatten(1).T  # [h*w, C]
            pooled.append(
                torch.cat(
                    [
                        self.norm_seen(_under(mask, one.grid, one.tokens.to(mask.dtype))),
                        self.norm_feature(_under(mask, (coarse.shape[-2], coarse.shape[-1]), near)),
                    ]
                )
            )
        return torch.stack(pooled) if pooled else masks.new_zeros(0, self.width + self.channels)

    def _boxes(self, boxes: Tensor, digits: Tensor) -> Tensor:
        if self.config.box == "text":
            numbers = torch.tensor([_written(box) for box in boxes.cpu()], device=digits.device)
            return digits[numbers.reshape(len(boxes), -1)].to(boxes.dtype)
        if self.config.box == "linear":
            found: Tensor = self.box(boxes)[:, None]
            return found
        low, high = boxes.split(2, 1)
        numbers = torch.cat([boxes, (low + high) / 2, high - low], 1)  # [M, NUMBERS]
        octaves = 2.0 ** torch.arange(WAVES, device=boxes.device) * torch.pi
        angles = (numbers[..., None] * octaves).flatten(1)
        waves: Tensor = self.box(torch.cat([numbers, angles.sin(), angles.cos()], 1))[:, None]
        return waves


def boxes_of(masks: Tensor) -> Tensor:
    """Return x0, y0, x1, y1 of masks [M, s, s] above a half, in sides of the square, [M, 4]; zeros without pixels."""
    inside = masks > 0.5
    found = []
    for axis in (1, 2):  # what remains after the rows are taken together are columns: x
        line = inside.any(axis)  # [M, s]
        side = line.shape[1]
        first = line.int().argmax(1)
        last = side - line.flip(1).int().argmax(1)
        found.append(torch.stack([first, last], 1) / side * line.any(1, keepdim=True))
    (x0, x1), (y0, y1) = found[0].unbind(1), found[1].unbind(1)
    return torch.stack([x0, y0, x1, y1], 1).to(masks.dtype)


def _under(mask: Tensor, grid: tuple[int, int], cells: Tensor) -> Tensor:
    """Average cells [rows * columns, ...] by how much of each a mask [s, s] covers."""
    share = F.interpolate(mask[None, None], size=grid, mode="area").flatten()
    return (share @ cells) / share.sum().clamp(min=1e-6)


def _written(box: Tensor) -> list[int]:
    """Return the digits of a box in thousandths, 10 for the commas between its numbers."""
    numbers = [min(999, round(float(value) * 1000)) for value in box]
    text = ",".join(f"{number:0{DIGITS}d}" for number in numbers)
    return [10 if letter == "," else int(letter) for letter in text]


def _mlp(given: int, width: int, out: int) -> nn.Sequential:
    last = nn.Linear(width, out)
    nn.init.normal_(last.weight, std=0.02)  # about as long as the vectors of words
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(given, width), nn.GELU(), last)
