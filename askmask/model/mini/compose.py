"""How words compose over regions: noun phrases met in full, places in an order, comparisons with one thing.

    "the boxes but not the red ones"   which regions fit the first noun phrase, which the second
    "the second smallest box"          where each region comes among those that fit, by a measured quantity
    "boxes taller than the mug"        whether it is beyond the region spoken of

Quantities are read off each region's evidence, supervised by the world's; which order and place are meant is read off
the words. Letters as in language.py; Q quantities, each with two directions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.reading import Read

# Each quantity's two directions: the least first, the greatest first.
ORDERS = ("left", "right", "near", "far", "short", "tall", "small", "large", "light", "heavy", "low", "high")
PLACES = 5
# Middle and spread of each quantity: picture widths, metres from the viewer, log metres, log cubic metres, log
# kilograms, metres above the table.
MIDDLE = (0.5, 0.8, -2.5, -7.0, -1.2, 0.08)
SPREAD = (0.2, 0.2, 0.8, 1.3, 1.0, 0.08)
FITS, RANKED = 2, 3


class Compose(nn.Module):
    """Words and quantities -> FITS + RANKED numbers per region, and what they add to states and choice."""

    def __init__(self, config: MiniConfig, evidence: int):
        super().__init__()
        width, quantities = config.language_width, len(ORDERS) // 2
        self.sizes = (len(config.categories), len(config.colours), len(config.attributes))
        self.measure = nn.Sequential(nn.Linear(evidence, 96), nn.GELU(), nn.Linear(96, quantities))
        self.order, self.place = nn.Linear(width, 1 + len(ORDERS)), nn.Linear(width, PLACES)
        self.sharpness = nn.Parameter(torch.full((quantities,), 2.0))  # logarithm: what differs clearly
        self.fitted, self.ranked = nn.Linear(FITS, width), nn.Linear(RANKED, width)
        self.weigh = nn.Parameter(torch.zeros(len(config.kinds), FITS + RANKED))
        # How much it counts for being spoken of to fit the names of that.
        self.fits_of = nn.Parameter(torch.tensor(2.0)) if config.word_roles else None
        for layer in (self.fitted, self.ranked):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def fits(self, read: Read, chances: Tensor) -> Tensor:
        """Return how well each region fits all that is said, and all that the other noun phrase says: [B, O, FITS]."""
        return torch.stack([self.fit(names, chances) for names in (read.said, read.denied)], -1)

    def fit(self, names: Tensor, chances: Tensor) -> Tensor:
        """Return how well each region with its chances of each name [B, O, N] fits names [B, N] logits: [B, O].

        Of categories and colours named together ("mugs and bowls") one is enough; attributes must all hold.
        """
        named = [part[:, None] for part in names.sigmoid()[:, : sum(self.sizes)].split(self.sizes, 1)]
        here = chances[..., : sum(self.sizes)].split(self.sizes, -1)
        fit = (1 - named[2] * (1 - here[2])).prod(-1)
        for name, chance in zip(named[:2], here[:2], strict=True):
            met = (name * chance).sum(-1).clamp(max=1)
            fit = fit * (1 - name.amax(-1) * (1 - met))
        return fit

    def rank(self, order: Tensor, place: Tensor, member: Tensor, of: Tensor, measures: Tensor) -> Tensor:
        """Return whether each region has the place asked for, is among the first, is beyond the one spoken of.

        order [B, 1 + 2Q] and place [B, PLACES] logits; member [B, O] in 0..1: what takes part; of [B, O] chances;
        measures [B, O, Q]. Result [B, O, RANKED].
        """
        apart = (measures[:, None] - measures[:, :, None]) * self.sharpness.exp()
        less = apart.sigmoid()  # [B, i, j, Q]: i is less than j
        less = less * (1 - torch.eye(less.shape[1], device=less.device))[..., None]
        below = torch.einsum("bi,bijq->bjq", member, less)
        others = (member.sum(1, keepdim=True) - member)[..., None]
        places = torch.stack([below, others - below], -1).flatten(2)  # [B, O, 2Q], directions as in ORDERS
        beyond = torch.einsum("bi,bijq->bjq", of, less)
        beyond = torch.stack([of.sum(1)[:, None, None] - of[..., None] - beyond, beyond], -1).flatten(2)
        which, at = order.softmax(1)[:, 1:], place.softmax(1)
        steps = torch.arange(PLACES, device=place.device, dtype=places.dtype)
        behind = places[..., None] - steps  # [B, O, 2Q, PLACES]
        exact = torch.einsum("bodk,bd,bk->bo", (1 - behind.abs()).clamp(min=0), which, at)
        first = torch.einsum("bodk,bd,bk->bo", (1 - behind).clamp(0, 1), which, at)
        told = torch.stack([exact, first, torch.einsum("bod,bd->bo", beyond, which)], -1)
        return told * member[..., None]
