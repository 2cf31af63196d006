"""Losses of masks, presence and score. Functions of tensors; K masks per prompt. Letters as in model/seams.py."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add

from torch import Tensor
from torch.nn import functional as F

from askmask.imaging.overlap import iou

DICE_WEIGHT = 0.25  # paper, section 5


def sum_of(losses: Iterable[Tensor]) -> Tensor:
    """Return the sum of at least one loss; `sum` would be a plain 0 of none."""
    return reduce(add, losses)


def mask_loss(logits: Tensor, target: Tensor, *, each: bool = False) -> Tensor:
    """BCE + 0.25 Dice of logits [B, h, w] against masks 0..1; the mean, or [B] with `each`.

    As published: BCE is a mean over pixels, Dice one number per mask.
    """
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).mean(1)
    loss = bce + DICE_WEIGHT * dice_loss(logits, target)
    return loss if each else loss.mean()


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice of probabilities, [B]."""
    chance, target = logits.sigmoid().flatten(1), target.flatten(1)
    return 1 - (2 * (chance * target).sum(1) + 1e-6) / (chance.sum(1) + target.sum(1) + 1e-6)


def iou_of(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of logits > 0 with target > 0.5 over the last two axes; two empty masks score 1."""
    return iou(logits > 0, target > 0.5)


def alternatives_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The best of K alternatives [B, K, h, w] learns: one prompt may mean several things."""
    count = logits.shape[1]
    each = mask_loss(logits.flatten(0, 1), target[:, None].expand(-1, count, -1, -1).flatten(0, 1), each=True)
    return each.unflatten(0, (-1, count)).amin(1).mean()


def score_loss(scores: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Squared error of predicted IoU [B, K] of logits [B, K, h, w]."""
    true = iou_of(logits.detach(), target[:, None].expand(-1, logits.shape[1], -1, -1))
    return F.mse_loss(scores, true)


def presence_loss(logits: Tensor, target: Tensor, present: Tensor | None = None) -> Tensor:
    """BCE of "something matches" [B] against `present`, by default "the true mask has pixels"."""
    if present is None:
        present = (target.flatten(1) > 0.5).any(1)
    return F.binary_cross_entropy_with_logits(logits, present.to(logits.dtype))
