"""What two regions are to each other: which carries, holds, touches, hides, blocks or would pull down the other.

Trained on the world's facts about each pair. Once per picture, so that a prompt ("what rests on it?") only has to
choose among answers. Letters as in seams.py; O regions, E numbers of evidence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.instances import RELATION

# One of region i and region j: "i carries j", "j is inside i", ...
FACTS = ("carries", "holds", "touches", "falls_with", "blocked_by", "hidden_by", "stacked_with")


class Pairs(nn.Module):
    """Evidence and relation of regions -> logits of FACTS for each ordered pair, and a summary of each pair."""

    def __init__(self, width: int, told: int):
        super().__init__()
        hidden = 64
        self.one, self.other = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.relation = nn.Linear(RELATION, hidden)
        self.mix = nn.Sequential(nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.facts = nn.Linear(hidden, len(FACTS))
        self.told = nn.Linear(hidden + RELATION + len(FACTS), told)

    def forward(self, states: Tensor, others: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, N, D] and those of others [B, O, D], relation [B, N, O, RELATION].

        Returns logits [B, N, O, FACTS], pairs [B, N, O, told].
        """
        mixed = self.one(states)[:, :, None] + self.other(others)[:, None] + self.relation(relation)
        hidden = self.mix(mixed)
        facts = self.facts(hidden)
        return facts, F.gelu(self.told(torch.cat([hidden, relation, facts.sigmoid()], -1)))
