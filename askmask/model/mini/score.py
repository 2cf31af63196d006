"""How good a mask is to be expected: what its decoder thinks of it, and how sure choosing was.

A mask may be drawn well around the wrong thing. Then the decoder, which looks at pixels, thinks well of it; but most
often the choice among regions was narrow, or the decoder left what was chosen, or it was not clear what the regions
are called. A score weighs these signs, by numbers that are fitted to masks of unseen scenes when a model is exported.

And it is cautious: a half or more is given to what is surely right. A score that is true on average has most wrong
masks above a half, since most masks are right; who keeps what has a half would keep them. So scores from `LOW` up to
`cut` are pressed below a half, and those above it stay. Letters as in language.py; F signs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.language import Choice, lifted

SIGNS = 4
LOW, HALF, RISE = 0.45, 0.5, 0.03
LEAST = 1e-3  # of chances, so that logarithms have bounds


class Score(nn.Module):
    """Signs -> IoU to be expected; at first the decoder's own score."""

    cut: Tensor  # the score that becomes a half; a half: every score stays

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Linear(SIGNS, 1)
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)
        with torch.no_grad():
            self.weigh.weight[0, 0] = 1.0
        self.register_buffer("cut", torch.tensor(HALF))

    def forward(self, signs: Tensor) -> Tensor:
        """[B, F] -> [B, 1] in 0..1."""
        return cautious(self.weigh(signs).sigmoid(), self.cut)


def cautious(score: Tensor, cut: Tensor) -> Tensor:
    """Press scores below `cut` below a half, without changing their order; those above `cut + RISE` stay."""
    if cut <= HALF:
        return score
    pressed = LOW + (score - LOW) * (HALF - LOW) / (cut - LOW)
    rising = HALF + (score - cut) * (cut + RISE - HALF) / RISE
    return torch.minimum(score, torch.maximum(pressed, rising))


def signs(own: Tensor, drawn: Tensor, choice: Choice, masks: Tensor, names: Tensor) -> Tensor:
    """Return what tells how good B masks are, [B, F].

    Args:
        own: the decoder's own scores, [B].
        drawn: logits of its masks, [B, S, S] or [B, S/2, S/2].
        choice: what was chosen for them, on the picture.
        masks: of the picture's regions, [O, h, w].
        names: chance of each name in each region, [O, N].
    """
    chance = lifted(choice.select[:, : len(masks)]).sigmoid()
    area = masks.flatten(1).sum(1)
    open_ = (area * chance * (1 - chance)).sum(1) / (area * chance).sum(1).clamp(min=1)
    painted = choice.painted > 0.5
    kept = F.adaptive_avg_pool2d((drawn > 0).float(), painted.shape[-1]) > 0.5
    agree = (painted & kept).flatten(1).sum(1) / (painted | kept).flatten(1).sum(1).clamp(min=1)
    asked = torch.maximum(choice.read.said, choice.read.denied).sigmoid()
    unclear = asked @ (names * (1 - names)).T  # [B, O]
    unclear = (unclear * chance).sum(1) / chance.sum(1).clamp(min=0.1)
    odds = (torch.logit(one, eps=LEAST) for one in (own, agree))
    return torch.stack([*odds, (open_ + LEAST).log(), (unclear + LEAST).log()], 1)
