"""One answer's mask -> one mask per object, where the network knows the picture's objects. Tensors in, arrays out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Where no object claims a cell, the nearest one gets it: sides of windows around a cell, and what they count for.
NEAR = {3: 1e-2, 7: 1e-3, 15: 1e-4, 31: 1e-5}
LEAST = 0.02  # share of the answer below which a piece is a fringe of its neighbour, not an object


def split(mask: np.ndarray, objects: Tensor, chosen: Tensor) -> list[tuple[np.ndarray, float]]:
    """Divide a mask, bool [H, W], among the objects that were chosen for it; the pieces add up to it exactly.

    `objects` [O, h, w] are soft masks, `chosen` [O] logits. Returns (piece, how likely its object belongs to the
    answer), from left to right; one piece with certainty 1 where fewer than two objects were chosen.
    """
    picked = (chosen > 0).nonzero()[:, 0]
    if len(picked) < 2 or not mask.any():
        return [(mask, 1.0)]
    soft = objects[picked][None].float()
    for cells, weight in NEAR.items():
        soft = soft + weight * F.avg_pool2d(objects[picked][None].float(), cells, 1, cells // 2)
    soft = F.interpolate(soft, size=mask.shape, mode="bilinear", align_corners=False)[0]
    owner = soft.argmax(0).cpu().numpy()
    sizes = np.bincount(owner[mask], minlength=len(picked))
    kept = sizes >= max(1.0, LEAST * sizes.sum())
    if kept.sum() < 2:
        return [(mask, 1.0)]
    owner = (
        soft.masked_fill(~torch.from_numpy(kept).to(soft.device)[:, None, None], -1.0).argmax(0).cpu().numpy()
    )
    pieces = [(mask & (owner == n), float(chosen[picked[n]].sigmoid())) for n in np.flatnonzero(kept)]
    return sorted((p for p in pieces if p[0].any()), key=lambda piece: float(np.nonzero(piece[0])[1].mean()))
