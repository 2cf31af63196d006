"""One answer's mask -> one mask per object, where the network knows the picture's objects. Tensors in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Where no object claims a cell, the nearest one gets it: sides of windows around a cell, and what they count for.
NEAR = {3: 1e-2, 7: 1e-3, 15: 1e-4, 31: 1e-5}
LEAST = 0.02  # share of the answer below which a piece is a fringe of its neighbour, not an object


@dataclass(frozen=True)
class Part:
    """A part of an answer's mask."""

    mask: np.ndarray  # bool [H, W]
    likely: float  # how likely its object belongs to the answer
    number: int  # of its object, -1 where none is known


def split(mask: np.ndarray, objects: Tensor, chosen: Tensor) -> list[Part]:
    """Divide a mask, bool [H, W], among the objects that were chosen for it; the parts add up to it exactly.

    `objects` [O, h, w] are soft masks, `chosen` [O] logits. Returns the parts from left to right; one with certainty 1
    where fewer than two objects were chosen.
    """
    picked = (chosen > 0).nonzero()[:, 0]
    if len(picked) < 2 or not mask.any():
        return [Part(mask, 1.0, int(chosen.argmax()) if len(chosen) else -1)]
    soft = whole = objects[picked][None].float()
    for cells, weight in NEAR.items():
        down, across = (_window(cells, side).to(whole) for side in whole.shape[-2:])
        soft = soft + weight * (down @ whole @ across)
    soft = F.interpolate(soft, size=mask.shape, mode="bilinear", align_corners=False)[0]
    within = soft[:, torch.from_numpy(mask).to(soft.device)]  # [picked, N]: what lies outside is nobody's
    owner = _strongest(within)
    sizes = np.bincount(owner, minlength=len(picked))
    kept = sizes >= max(1.0, LEAST * sizes.sum())
    if kept.sum() < 2:
        return [Part(mask, 1.0, int(picked[sizes.argmax()]))]
    if not kept.all():
        within = within.masked_fill(~torch.from_numpy(kept).to(soft.device)[:, None], -1.0)
        owner = _strongest(within)
    parts = []
    for n in np.flatnonzero(kept):
        part = np.zeros_like(mask)
        part[mask] = owner == n
        parts.append(Part(part, float(chosen[picked[n]].sigmoid()), int(picked[n])))
    return sorted((part for part in parts if part.mask.any()), key=_middle)


def _strongest(claims: Tensor) -> np.ndarray:
    """Return the row of each column's largest number, int [N]: `argmax(0)`, which reads down columns and is slow."""
    most, owner = claims[0], torch.zeros(claims.shape[1], dtype=torch.int16, device=claims.device)
    for row, claim in enumerate(claims[1:], start=1):
        owner.masked_fill_(claim > most, row)
        most = torch.maximum(most, claim)
    return owner.cpu().numpy()


@lru_cache(maxsize=32)
def _window(cells: int, side: int) -> Tensor:
    """Return the matrix [side, side] that averages each place with those around it, `cells` in all.

    Twice a product costs a fraction of what the library's pooling does, whose work grows with the window.
    """
    place = torch.arange(side)
    return ((place[:, None] - place).abs() <= cells // 2).float() / cells


def _middle(part: Part) -> float:
    """Return the mean column of a part's pixels."""
    columns = part.mask.sum(0)
    return float(columns @ np.arange(len(columns)) / columns.sum())
