"""mini's prompt encoder: words and the picture's regions in one small transformer.

    once per picture:  Features -> Percept -> Instances -> region states and how each pair lies (Prefix)
    once per prompt:   words -> text layers -> joint layers over words and regions
                       -> which regions, which part of them, whether anything matches

Letters as in seams.py; O regions (objects and stuff), P part names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.instances import RELATION, Instances, evidence_width
from askmask.model.mini.words import WordEmbedding
from askmask.model.seams import TokenStates

LIKELIEST = (
    1.0  # least logit of the likeliest region; 0, 1.5 and 3 scored .34, .35 and .33 gIoU, without it .29
)


@dataclass(frozen=True)
class Regions:
    """Regions of B pictures, padded: what `Instances` says, ready for the transformer."""

    evidence: Tensor  # [B, O, E]
    relation: Tensor  # [B, O, O, RELATION]
    real: Tensor  # [B, O] bool


@dataclass(frozen=True)
class Seen:
    """Regions after the part of the network that no prompt can change."""

    states: Tensor  # [B, O, D]
    bias: Tensor  # [B, layers, heads, O, O]
    real: Tensor  # [B, O] bool

    def expand(self, count: int) -> Seen:
        """Serve `count` prompts with one picture."""
        return Seen(*(t.expand(count, *t.shape[1:]) for t in (self.states, self.bias, self.real)))

    def rows(self, index: Tensor) -> Seen:
        """Select along the batch."""
        return Seen(self.states[index], self.bias[index], self.real[index])


@dataclass(frozen=True)
class Choice(TokenStates):
    """Token states (summary, words, regions) and what they choose."""

    select: Tensor  # [B, O] logit per region
    gate: Tensor  # [B, P] logits over parts, index 0 = the whole region
    presence: Tensor  # [B] logit
    paint: Tensor | None = None  # [B, S/2, S/2] in [0, 1]: the choice on the picture

    def on(self, masks: Tensor, parts: Tensor) -> Choice:
        """Paint the choice with region masks [B, O, h, w] and part probabilities [B, P, h, w]."""
        select = self.select[:, : masks.shape[1]]
        # "Whether" is presence's to say; the paint says "which", so the likeliest region is always in it.
        if select.shape[1]:
            select = select + (LIKELIEST - select.amax(1, keepdim=True)).clamp(min=0)
        return replace(self, paint=paint(select, self.gate, masks, parts))


class Layer(nn.Module):
    """A pre-norm transformer layer with an additive attention bias."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, bias: Tensor, drop: float = 0.0) -> Tensor:
        """x [B, N, D]; bias [B, 1 or heads, 1 or N, N], -inf where attention is forbidden."""
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
        x = x + F.dropout(self.out(mixed), drop, self.training)
        return x + F.dropout(self.mlp(self.norm2(x)), drop, self.training)


class Language(nn.Module):
    """Regions and words -> Choice."""

    def __init__(self, config: MiniConfig, drop: float = 0.1):
        super().__init__()
        width, heads = config.language_width, config.heads
        self.layers, self.heads, self.drop = config.joint_layers, heads, drop
        self.register_buffer("evidence_mean", torch.zeros(evidence_width(config)))
        self.register_buffer("evidence_scale", torch.ones(evidence_width(config)))
        self.look = nn.Sequential(
            nn.Linear(evidence_width(config), 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.relate = nn.Sequential(
            nn.Linear(RELATION, 48), nn.GELU(), nn.Linear(48, config.joint_layers * heads)
        )
        self.embed = WordEmbedding(config.word_buckets, config.piece_buckets, width, config.max_words)
        self.summary = nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.summary, std=0.3)
        self.read = nn.ModuleList(Layer(width, heads) for _ in range(config.text_layers))
        self.join = nn.ModuleList(Layer(width, heads) for _ in range(config.joint_layers))
        self.kind = nn.Parameter(torch.zeros(2, width))
        self.norm = nn.LayerNorm(width)
        self.pick = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.gate = nn.Linear(width, len(config.parts))
        self.presence = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))

    def see(self, regions: Regions) -> Seen:
        """Do the part that depends on the picture alone."""
        evidence = (regions.evidence - self.evidence_mean) / self.evidence_scale
        bias = self.relate(regions.relation)  # [B, O, O, layers * heads]
        bias = bias.permute(0, 3, 1, 2).unflatten(1, (self.layers, self.heads))
        return Seen(self.look(evidence.clamp(-6, 6)) + self.kind[1], bias, regions.real)

    def forward(self, seen: Seen, prompts: list[str], word_drop: float = 0.0) -> Choice:
        """Answer B prompts, row by row about the regions of the same row of `seen`."""
        words, real = self.embed(prompts, word_drop)
        batch, objects = len(prompts), seen.states.shape[1]
        words = torch.cat([self.summary.expand(batch, 1, -1), words], 1)  # [B, T, D], the summary first
        real = F.pad(real, (1, 0), value=True)
        bias = words.new_zeros(real.shape).masked_fill(~real, -torch.inf)[:, None, None]
        drop = self.drop if self.training else 0.0
        for layer in self.read:
            words = layer(words, bias, drop)
        length = words.shape[1]
        both = torch.cat([words + self.kind[0], seen.states], 1)
        keep = torch.cat([real, seen.real], 1)
        hidden = both.new_zeros(keep.shape).masked_fill(~keep, -torch.inf)[:, None, None]
        for number, layer in enumerate(self.join):
            pairs = F.pad(seen.bias[:, number], (length, 0, length, 0))  # [B, heads, T + O, T + O]
            both = layer(both, pairs + hidden, drop)
        both = self.norm(both)
        summary, regions = both[:, 0], both[:, length:]
        select = self.pick(torch.cat([regions, regions * summary[:, None]], -1))[..., 0]
        select = select.masked_fill(~seen.real, -30.0)
        strongest = (regions * select.softmax(1)[..., None]).sum(1) if objects else torch.zeros_like(summary)
        presence = self.presence(torch.cat([summary, strongest], 1))[:, 0]
        sparse = keep.clone()
        sparse[:, 0] = False
        return Choice(
            both,
            sparse,
            torch.zeros(batch, dtype=torch.long, device=both.device),
            select,
            self.gate(summary),
            presence,
        )


def pad_regions(pictures: list[Instances]) -> Regions:
    """Bring pictures with different numbers of regions together."""
    most = max(1, max(len(one.evidence) for one in pictures))
    first = pictures[0].evidence
    evidence = first.new_zeros(len(pictures), most, first.shape[1])
    relation = first.new_zeros(len(pictures), most, most, RELATION)
    real = torch.zeros(len(pictures), most, dtype=torch.bool, device=first.device)
    for row, one in enumerate(pictures):
        count = len(one.evidence)
        evidence[row, :count] = one.evidence
        relation[row, :count, :count] = one.relation
        real[row, :count] = True
    return Regions(evidence, relation, real)


def paint(select: Tensor, gate: Tensor, masks: Tensor, parts: Tensor) -> Tensor:
    """Paint the chosen regions, or the chosen part of them: probabilities [B, S/2, S/2].

    masks [B, O, h, w] soft; parts [B, P, h, w] probabilities of each part name per pixel, index 0 unused.
    """
    region = torch.einsum("bo,bohw->bhw", select.sigmoid(), masks).clamp(max=1)
    share = gate.softmax(1)
    keep = share[:, :1, None] + torch.einsum("bp,bphw->bhw", share[:, 1:], parts[:, 1:])
    return region * keep
