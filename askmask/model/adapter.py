"""The adapter: language states -> the mask decoder's sparse and dense prompts.

Letters: B prompts, T language tokens, N prompt tokens, D language width, C decoder channels.
Source: ConverSeg (CVPR 2026), section 4.
"""

from __future__ import annotations

import torch
from torch import nn

from askmask.model.seams import Prompts, TokenStates, pad_rows

MIN_DENSE_SCALE = 0.01  # the learned dense scale is kept from vanishing or turning sign


class Adapter(nn.Module):
    """LayerNorm, then a linear map of every text state (sparse) and a small MLP of the last one (dense).

    Parameter names follow the published release, so that its weights load by name.
    """

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.txt_norm = nn.LayerNorm(width)
        self.to_sparse = nn.Linear(width, channels)
        self.to_dense = nn.Sequential(nn.Linear(width, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.temp = nn.Parameter(torch.tensor(1.0))

    def forward(self, tokens: TokenStates) -> Prompts:
        """Map states [B, T, D] to sparse [B, N, C] (N = most text tokens of a prompt) and dense [B, C]."""
        states = self.txt_norm(tokens.states.to(self.txt_norm.weight.dtype))  # [B, T, D]
        sparse = self.to_sparse(states) * self.scale  # [B, T, C]
        sparse, sparse_mask = pad_rows([row[keep] for row, keep in zip(sparse, tokens.sparse, strict=True)])
        last = states[torch.arange(len(states), device=states.device), tokens.dense_at]  # [B, D]
        dense = self.to_dense(last) * self.temp.clamp(min=MIN_DENSE_SCALE)  # [B, C]
        return Prompts(
            sparse.float(), sparse_mask, dense.float(), torch.arange(len(dense), device=dense.device)
        )
