"""How a picture's true mask becomes the decoder's target: by our geometry, or exactly as published."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.imaging.resize import Letterbox

EROSION = 5  # pixels at 1024: the published training shrinks masks by two pixels all round


def native_target(mask: np.ndarray, side: int) -> Tensor:
    """Stretch bool [H, W] to [side, side]: 1 where at least half of the cell is in the mask."""
    whole = torch.from_numpy(mask).float()[None, None]
    return (F.interpolate(whole, (side, side), mode="area")[0, 0] >= 0.5).float()


def published_target(mask: np.ndarray, side: int, square: int) -> Tensor:
    """Letterbox bool [H, W] to `square`, erode, take every fourth pixel, as the published training does."""
    box = Letterbox.of(mask.shape, square)
    rows = (
        (np.arange(box.inner[0]) * (mask.shape[0] / box.inner[0]))
        .astype(np.int64)
        .clip(max=mask.shape[0] - 1)
    )
    columns = (np.arange(box.inner[1]) * (mask.shape[1] / box.inner[1])).astype(np.int64)
    inner = mask[rows[:, None], columns.clip(max=mask.shape[1] - 1)[None]]
    # What lies beyond the border counts as inside: only true edges are worn off.
    whole = F.pad(torch.from_numpy(inner).float()[None, None], [EROSION // 2] * 4, value=1.0)
    eroded = -F.max_pool2d(-whole, EROSION, 1)
    canvas = torch.zeros(1, 1, square, square)
    canvas[0, 0, box.rows, box.columns] = eroded[0, 0]
    return F.interpolate(canvas, (side, side), mode="nearest")[0, 0]
