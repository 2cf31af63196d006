"""What each region is, by all of its evidence: what the dense heads named pixel by pixel, put right.

A name's chance in a region was the mean over its pixels of what one pixel shows. What a thing is made of, and what a
hand can reach, the pixels say less surely than all maps under the region, its shape and its place together.
Letters as in language.py; E numbers of evidence, N names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from askmask.model.mini.config import MiniConfig

WIDTH = 192
LEAST, MOST = 1e-6, 8.0  # bounds of what is divided by, and of logarithms of odds


class Recognise(nn.Module):
    """Evidence and the chances that pixels gave -> chances of the same names; at first the same."""

    def __init__(self, config: MiniConfig, evidence: int):
        super().__init__()
        self.sizes = [len(config.categories), len(config.colours), len(config.attributes)]
        last = nn.Linear(WIDTH, sum(self.sizes))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.more = nn.Sequential(nn.Linear(evidence, WIDTH), nn.GELU(), nn.Dropout(0.1), last)

    def forward(self, evidence: Tensor, names: Tensor) -> Tensor:
        """Standardised evidence [B, O, E], chances [B, O, N] -> chances [B, O, N]; those of parts stay."""
        parts = names.shape[-1] - sum(self.sizes)
        # In training evidence has noise; a chance below 0 would have odds without bounds.
        category, colour, attributes, rest = names.clamp(0, 1).split([*self.sizes, parts], -1)
        odds = [change.clamp(max=MOST).exp() for change in self.more(evidence).split(self.sizes, -1)]
        one_of = []
        for chance, more in zip((category, colour), odds[:2], strict=True):
            raised = chance * more
            one_of.append(
                raised * chance.sum(-1, keepdim=True) / raised.sum(-1, keepdim=True).clamp(min=LEAST)
            )
        raised = attributes * odds[2]
        return torch.cat([*one_of, raised / (1 - attributes + raised).clamp(min=LEAST), rest], -1)
