"""MIRAS's way from states to prompts: one token for each mask, its [SEG] aligned with the words that name it.

The published code makes the attention anew, with random weights, at every call; here it is a part of the network.
Letters as in adapter.py. Source: MIRAS (ACL 2025), "semantic region alignment".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from askmask.model.seams import Prompts, pad_rows
from askmask.model.talk.adapter import Asked, heads_for
from askmask.model.talk.config import TalkConfig
from askmask.model.talk.memory import MaskMemory
from askmask.model.talk.words import OBJ, SIGNS


class AlignedAdapter(nn.Module):
    """States -> one prompt token a mask; SAM2's own dense prompt of no mask goes with it."""

    def __init__(self, config: TalkConfig, width: int, channels: int):
        super().__init__()
        self.config = config
        self.signs = nn.Parameter(0.02 * torch.randn(len(SIGNS), width))
        self.sayable = nn.Parameter(0.02 * torch.randn(len(SIGNS) - OBJ, width))
        self.memory = MaskMemory(config, width, channels)  # of no tokens
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, channels))
        if config.align == "attention":
            self.align = nn.MultiheadAttention(channels, heads_for(channels), batch_first=True)
            self.aligned = nn.Linear(channels, channels)

    def targets(self, asked: Asked, dense: Tensor) -> Prompts:
        """Return the prompts of masks. `dense` [1, C]: of no mask."""
        seg, words = self._projected(asked.seg), self._projected(asked.words)  # [Q, C], [Q, T, C]
        rows = list(seg[:, None])
        if self.config.align == "attention":
            found, _ = self.align(
                seg[:, None], words, words, key_padding_mask=~asked.real, need_weights=False
            )
            # A mask without words of its own has nothing to be aligned with.
            named = asked.real.sum(1, keepdim=True) > 1
            rows = list(torch.where(named, self.aligned(found[:, 0]), seg)[:, None])
        elif self.config.align == "mean":
            real = asked.real[..., None].to(words.dtype)
            rows = list(((words * real).sum(1) / real.sum(1))[:, None])
        elif self.config.align == "tokens":  # [SEG]'s own is the last of them
            rows = [some[keep] for some, keep in zip(words, asked.real, strict=True)]
        sparse, known = pad_rows(rows)
        return Prompts(sparse.float(), known, dense.float().expand(len(seg), -1), asked.row)

    def _projected(self, states: Tensor) -> Tensor:
        projected: Tensor = self.project(states.to(self.signs.dtype))
        return projected
