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


def mask_loss(
    logits: Tensor,
    target: Tensor,
    counted: Tensor | None = None,
    *,
    each: bool = False,
    bce: float = 1.0,
    dice: float = DICE_WEIGHT,
) -> Tensor:
    """`bce` x BCE + `dice` x Dice of logits [B, h, w] against masks 0..1; the mean, or [B] with `each`.

    As published: BCE is a mean over pixels, Dice one number per mask. Where `counted` (bool [B, h, w]) is False,
    neither looks.
    """
    pixels = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1)
    if counted is None:
        mean = pixels.mean(1)
    else:
        share = counted.flatten(1).to(pixels.dtype)
        mean = (pixels * share).sum(1) / share.sum(1).clamp(min=1)
    loss = bce * mean + dice * dice_loss(logits, target, counted)
    return loss if each else loss.mean()


def dice_loss(logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """1 - Dice of probabilities, [B], over the pixels `counted`."""
    chance, target = logits.sigmoid().flatten(1), target.flatten(1)
    if counted is not None:
        chance, target = chance * counted.flatten(1), target * counted.flatten(1)
    return 1 - (2 * (chance * target).sum(1) + 1e-6) / (chance.sum(1) + target.sum(1) + 1e-6)


def iou_of(logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """IoU of logits > 0 with target > 0.5 over the last two axes, where `counted`; two empty masks score 1."""
    return iou(logits > 0, target > 0.5, True if counted is None else counted)


def alternatives_loss(logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """The best of K alternatives [B, K, h, w] learns, over the pixels `counted`: one prompt may mean several things."""
    count = logits.shape[1]
    target = target[:, None].expand(-1, count, -1, -1).flatten(0, 1)
    counted = None if counted is None else counted[:, None].expand(-1, count, -1, -1).flatten(0, 1)
    each = mask_loss(logits.flatten(0, 1), target, counted, each=True)
    return each.unflatten(0, (-1, count)).amin(1).mean()


def score_loss(scores: Tensor, logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """Squared error of predicted IoU [B, K] of logits [B, K, h, w], over the pixels `counted`."""
    true = iou_of(logits.detach(), target[:, None], None if counted is None else counted[:, None])
    return F.mse_loss(scores, true)


def presence_loss(logits: Tensor, present: Tensor) -> Tensor:
    """BCE of "something matches" [B] against `present`: 1 or 0, or -1 where that is not known and costs nothing."""
    known = present >= 0
    if not known.any():
        return logits.sum() * 0
    return F.binary_cross_entropy_with_logits(logits[known], present[known].to(logits.dtype))
