"""mini's adapter and mask decoder: tokens and the picture look at each other twice, then paint the mask.

The decoder corrects what the prompt encoder painted from whole regions (coarse, stride 2 soft masks) with the
encoder's fine maps; after SAM's two-way decoder (Kirillov et al. 2023, section 3). Letters as in seams.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.encoder import pyramid
from askmask.model.mini.language import Choice
from askmask.model.mini.perception import plane_of
from askmask.model.seams import Features, MaskOutput, Prompts

MASKS = 4  # token 0 is the supervised mask; 1 to 3 are alternatives


@dataclass(frozen=True)
class Painted(Prompts):
    """Prompts with the painted selection at stride 2, as probabilities, and the language side's presence."""

    paint: Tensor  # [B, 4h, 4w] in [0, 1]
    presence: Tensor  # [B] logit
    chosen: Tensor | None = None  # [B, O] logit of each of the picture's regions


class MiniAdapter(nn.Module):
    """Choice -> Painted, in the form of the large network's adapter plus the painted map."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        width, channels = config.language_width, config.channels
        self.norm = nn.LayerNorm(width)
        self.to_sparse = nn.Linear(width, channels)
        self.scale = nn.Parameter(torch.ones(()))
        self.to_dense = nn.Sequential(nn.Linear(width, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.to_map = nn.Conv2d(1, channels, 4, 4)

    def forward(self, choice: Choice) -> Painted:
        """Map states [B, T, D] to sparse tokens, the summary and the painted choice to a dense map."""
        paint = choice.painted
        states = self.norm(choice.states)
        rows = torch.arange(len(states), device=states.device)
        dense = self.to_dense(states[rows, choice.dense_at])[:, :, None, None] + self.to_map(paint[:, None])
        return Painted(
            self.to_sparse(states) * self.scale,
            choice.sparse,
            dense,
            rows,
            paint,
            choice.presence,
            choice.select,
        )


class Attention(nn.Module):
    """Multi-head attention at half the width, as in SAM."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        inner = width // 2
        self.heads = heads
        self.q, self.k = nn.Linear(width, inner), nn.Linear(width, inner)
        self.v, self.out = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, N, C] each; bias [B, 1, 1, keys]."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, q), (self.k, k), (self.v, v))
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).flatten(2))


class TwoWay(nn.Module):
    """Tokens attend to tokens and picture; the picture attends to tokens."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.own, self.down, self.up = (Attention(width, heads) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(
        self, tokens: Tensor, cells: Tensor, token_place: Tensor, cell_place: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """tokens [B, N, C], cells [B, h*w, C]."""
        n1, n2, n3, n4 = self.norms
        placed = tokens + token_place
        tokens = n1(tokens + self.own(placed, placed, tokens, bias))
        tokens = n2(tokens + self.down(tokens + token_place, cells + cell_place, cells))
        tokens = n3(tokens + self.mlp(tokens))
        cells = n4(cells + self.up(cells + cell_place, tokens + token_place, tokens, bias))
        return tokens, cells


class MaskDecoder(nn.Module):
    """Features and Prompts -> MaskOutput with MASKS masks at stride 2."""

    waves: Tensor  # [2, C / 2]

    def __init__(self, config: MiniConfig):
        super().__init__()
        width, heads = config.channels, config.heads
        w2, w4, w8, _ = config.widths
        self.neck = nn.Conv2d(w8, width, 1)
        self.skip4, self.skip2 = nn.Conv2d(w4, width // 2, 1), nn.Conv2d(w2, width // 6, 1)
        self.register_buffer("waves", torch.randn(2, width // 2) * 2.0)
        self.own_tokens = nn.Parameter(torch.randn(2 + MASKS, width) * 0.3)  # presence, score, masks
        self.blocks = nn.ModuleList(TwoWay(width, heads) for _ in range(2))
        self.last = Attention(width, heads)
        self.last_norm = nn.LayerNorm(width)
        self.up4 = nn.ConvTranspose2d(width, width // 2, 2, 2)
        self.norm4 = nn.GroupNorm(1, width // 2)
        self.up2 = nn.ConvTranspose2d(width // 2, width // 6, 2, 2)
        self.brush = nn.Conv2d(2, width // 6, 3, 1, 1)  # the painted probabilities and logits at stride 2
        self.hyper = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width),
                nn.GELU(),
                nn.Linear(width, width),
                nn.GELU(),
                nn.Linear(width, width // 6),
            )
            for _ in range(MASKS)
        )
        self.score = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, MASKS))
        self.presence = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        self.gain = nn.Parameter(torch.ones(MASKS))
        # An unpainted pixel starts as "not in the mask"; without this, from-scratch decoders stay at zero IoU long.
        self.bias = nn.Parameter(torch.full((MASKS,), -0.5))
        for head in self.hyper:
            assert isinstance(head, nn.Sequential)
            last = head[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            # Without storage, drawing would cost two seconds of imports in torch, for nothing.
            if not last.bias.is_meta:
                nn.init.normal_(last.bias, std=0.02)

    def forward(self, features: Features, prompts: Prompts) -> MaskOutput:
        """Decode Q masks; features of one picture serve all, or one row per prompt of the batch."""
        y2, y4, y8 = pyramid(features if len(features.maps[0]) == 1 else features.rows(prompts.row))
        batch = prompts.sparse.shape[0]  # `len` would fix the number of masks in a graph
        base = self.neck(y8)
        fine4, fine2 = self.skip4(y4), self.skip2(y2)
        dense = prompts.dense if prompts.dense.ndim == 4 else prompts.dense[:, :, None, None]
        image = base + dense  # [B, C, h, w]
        height, wide = image.shape[-2:]
        cells = image.flatten(2).transpose(1, 2)
        angle = plane_of(image).flatten(2).transpose(1, 2) * 2 * torch.pi @ self.waves
        cell_place = torch.cat([angle.sin(), angle.cos()], -1)  # [1, h*w, C]
        tokens = torch.cat([self.own_tokens.expand(batch, -1, -1), prompts.sparse], 1)
        real = F.pad(prompts.sparse_mask, (len(self.own_tokens), 0), value=True)
        bias = tokens.new_zeros(real.shape).masked_fill(~real, -torch.inf)[:, None, None]
        token_place = tokens
        for block in self.blocks:
            tokens, cells = block(tokens, cells, token_place, cell_place, bias)
        tokens = self.last_norm(tokens + self.last(tokens + token_place, cells + cell_place, cells))
        image = cells.transpose(1, 2).reshape(batch, -1, height, wide)
        image = F.relu(self.norm4(self.up4(image).add_(fine4)), inplace=True)
        image = self.up2(image).add_(fine2)
        if isinstance(prompts, Painted):
            painted = prompts.paint[:, None]
            prior = torch.logit(painted, eps=0.01)
        else:
            painted = image.new_zeros(batch, 1, *image.shape[-2:])
            prior = torch.zeros_like(painted)
        image = F.relu(image.add_(self.brush(torch.cat([painted, prior / 4], 1))), inplace=True)
        weights = torch.stack([head(tokens[:, 2 + i]) for i, head in enumerate(self.hyper)], 1)
        logits = torch.einsum("bkc,bchw->bkhw", weights, image)
        logits = logits + self.bias[:, None, None] + self.gain[:, None, None] * prior
        presence = self.presence(tokens[:, 0])[:, 0]
        if isinstance(prompts, Painted):
            presence = presence + prompts.presence
        return MaskOutput(logits, self.score(tokens[:, 1]).sigmoid(), presence, prompts.row)
