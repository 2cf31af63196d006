"""What stands between the language side and the mask decoder in a conversation, and everything of it that is fresh.

A mask of a reply is asked for twice. (REF, PAD) must give back what it is about; (REF, SEG) gives the mask itself. The
states are taken at [REF] and [SEG] of the whole reply, and the words between [OBJ] and [SEG] are attended to.

Letters: Q masks asked for, T tokens of one reply's phrase, D language width, C decoder channels.
Source: SegLLM (ICLR 2025), section 3; MIRAS (ACL 2025) for the words, whose alignment was never trained in its code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from askmask.model.adapter import MIN_DENSE_SCALE, Adapter
from askmask.model.seams import Prompts, pad_rows
from askmask.model.talk.config import TalkConfig
from askmask.model.talk.memory import MaskMemory
from askmask.model.talk.words import OBJ, SIGNS

HEADS = 8  # of the attention over a phrase, at most; fewer where C is narrow
ROLES = 3  # REF, SEG, and the words between


@dataclass(frozen=True)
class Asked:
    """The states of Q masks of replies."""

    ref: Tensor  # [Q, D]
    seg: Tensor  # [Q, D]
    words: Tensor  # [Q, T, D] from [OBJ] to [SEG]; [SEG] alone where a mask has no words
    real: Tensor  # [Q, T] bool
    row: Tensor  # [Q] which reply of the batch


class TalkAdapter(Adapter):
    """The adapter of single prompts, its maps used for the states of a reply, and what conversations need besides."""

    def __init__(self, config: TalkConfig, width: int, channels: int):
        super().__init__(width, channels)
        self.config = config
        # Rows of the signs, in the embeddings and in the head; the language model's own stay as they are.
        self.signs = nn.Parameter(0.02 * torch.randn(len(SIGNS), width))
        self.sayable = nn.Parameter(0.02 * torch.randn(len(SIGNS) - OBJ, width))
        self.memory = MaskMemory(config, width, channels)
        self.roles = nn.Parameter(0.02 * torch.randn(ROLES, channels))
        self.pad = nn.Parameter(0.02 * torch.randn(channels))
        if config.align == "attention":
            self.align = nn.MultiheadAttention(channels, heads_for(channels), batch_first=True)
        if config.inject == "adapter":
            self.reference = nn.Sequential(
                nn.Conv2d(1, channels // 4, 2, stride=2),
                nn.GELU(),
                nn.Conv2d(channels // 4, channels, 2, stride=2),
            )
            self.gate = nn.Parameter(torch.zeros(1))

    def targets(self, asked: Asked, references: Tensor | None) -> Prompts:
        """Return the prompts of (REF, SEG). `references` [Q, C, h, w]: what `refer` makes of masks."""
        ref, seg = self._sparse(asked.ref), self._sparse(asked.seg)  # [Q, C]
        words = self._sparse(asked.words) + self.roles[2]  # [Q, T, C]
        more = words[:, :0]
        if self.config.align == "attention":
            seg = (
                seg
                + self.align(seg[:, None], words, words, key_padding_mask=~asked.real, need_weights=False)[0][
                    :, 0
                ]
            )
        elif self.config.align == "mean":
            real = asked.real[..., None].to(words.dtype)
            seg = (words * real).sum(1) / real.sum(1)
        elif self.config.align == "tokens":
            more = words
        first = torch.stack([ref + self.roles[0], seg + self.roles[1]], 1)  # [Q, 2, C]
        rows = [
            torch.cat([pair, some[keep[: len(some)]]])
            for pair, some, keep in zip(first, more, asked.real, strict=True)
        ]
        return self._prompts(rows, asked.seg, asked.row, references)

    def references_again(self, asked: Asked) -> Prompts:
        """Return the prompts of (REF, PAD)."""
        ref = self._sparse(asked.ref) + self.roles[0]
        rows = list(torch.stack([ref, self.pad.expand_as(ref)], 1))
        return self._prompts(rows, asked.ref, asked.row, None)

    def refer(self, masks: Tensor) -> Tensor:
        """Make of masks [Q, 4h, 4w] what is added to the decoder's dense prompt, [Q, C, h, w]: nothing at gate 0."""
        return self.gate * self.reference(2 * masks[:, None] - 1)

    def _prompts(self, rows: list[Tensor], state: Tensor, row: Tensor, references: Tensor | None) -> Prompts:
        sparse, real = pad_rows(rows)
        dense = self.to_dense(self._normed(state)) * self.temp.clamp(min=MIN_DENSE_SCALE)  # [Q, C]
        if references is not None:
            dense = dense[:, :, None, None] + references
        return Prompts(sparse.float(), real, dense.float(), row)

    def _sparse(self, states: Tensor) -> Tensor:
        return self.to_sparse(self._normed(states)) * self.scale

    def _normed(self, states: Tensor) -> Tensor:
        return self.txt_norm(states.to(self.txt_norm.weight.dtype))


def heads_for(channels: int) -> int:
    """Return how many heads attend to a phrase."""
    return next(n for n in range(HEADS, 0, -1) if channels % n == 0)
